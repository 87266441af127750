"""A cache for all callers, or for each of them."""

import httpx
import pytest
from starlette.types import Scope
from tests.support.gateway import entry, gateway_of, running

from anyrerank import MemoryCache, RedisCache
from anyrerank.gateway.configuration import config_of_models, service_of
from anyrerank.gateway.rerank import Caller, Isolation, key_of
from anyrerank.testing import StubServer

ASK = {"model": "rerank", "query": "red planet", "documents": ["Venus", "Mars"]}


class TwoOwners:
    is_open = False

    def caller(self, scope: Scope) -> Caller:
        return Caller(owner=key_of(scope))


@pytest.mark.parametrize(("isolated", "requests"), [(False, 1), (True, 2)])
def test_each_caller_has_a_cache_of_its_own_if_the_settings_say_so(isolated: bool, requests: int) -> None:
    with StubServer() as vendor:
        models = [entry("rerank", "cohere/rerank-v3.5", api_key="k", api_base=vendor.url)]
        gateway = gateway_of(models, access=TwoOwners(), cache=MemoryCache(), settings={"cache_isolation": isolated})
        with running(gateway) as url:
            answers = [
                httpx.post(f"{url}/rerank", json=ASK, headers={"authorization": key})
                for key in ("sk-a", "sk-b", "sk-a", "sk-b")
            ]
    assert len(vendor.requests) == requests
    assert [answer.headers.get("x-anyrerank-cache") for answer in answers[2:]] == ["2 of 2"] * 2
    assert len({answer.json()["results"][0]["relevance_score"] for answer in answers}) == 1


def test_a_part_is_the_same_object_while_it_is_used() -> None:
    isolation = Isolation(MemoryCache())
    part = isolation.of("a")
    assert isolation.of("a") is part
    assert isolation.of("b") is not part


def test_without_a_cache_there_is_nothing_to_isolate() -> None:
    assert service_of(config_of_models(["local/lexical"])).isolation is None


@pytest.mark.parametrize(("isolated", "requests"), [(False, 1), (True, 2)])
def test_replicas_share_a_cache_in_redis(redis_url: str, isolated: bool, requests: int) -> None:
    with StubServer() as vendor:
        models = [entry("rerank", "cohere/rerank-v3.5", api_key="k", api_base=vendor.url)]
        for number in range(2):
            settings = {"cache_isolation": isolated}
            gateway = gateway_of(models, access=TwoOwners(), cache=RedisCache(redis_url), settings=settings)
            with running(gateway) as url:
                answers = [
                    httpx.post(f"{url}/rerank", json=ASK, headers={"authorization": key}) for key in ("sk-a", "sk-b")
                ]
            if number:
                assert [answer.headers.get("x-anyrerank-cache") for answer in answers] == ["2 of 2"] * 2
    assert len(vendor.requests) in range(requests, 3)  # that of the second caller may come before it is stored
