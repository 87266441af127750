"""Which deployment of a name is asked first: weights, limits, orders, prices, latencies, usage and load."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import count
from typing import Any

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.harness import DOCUMENTS, KEY, QUERY
from tests.support.routing import Worlds, entry, fails, ids, limited, ok

from anyrerank import BadRequestError, Router


def test_deployments_of_one_name_are_chosen_at_random(world: Worlds, clock: Clock) -> None:
    here, numbers = world(), iter([0.0, 0.99, 0.0])
    router = here.router()
    clock.rng = lambda: next(numbers)
    responses = [here.ask(router) for _ in range(3)]
    assert here.asked == ["a", "b", "a"]
    assert [ids(response) for response in responses] == [["a"], ["b"], ["a"]]
    for response in responses:
        assert (response.model_group, response.provider, response.model) == ("r", "cohere", "rerank-v3.5")
        assert response.results.indexes == (0, 1, 2)


def test_deployments_send_their_own_key_headers_and_options(world: Worlds) -> None:
    here = world(a=fails())
    router = here.router(
        entry("a", extra_headers={"x-team": "blue"}),
        entry("b", max_tokens_per_doc=99, extra_body={"extra": 1}),
    )
    here.ask(router)
    first, second = here.requests
    assert first.headers["authorization"] == f"Bearer {KEY}-a"
    assert (first.headers.get("x-team"), second.headers.get("x-team")) == ("blue", None)
    assert second.headers["authorization"] == f"Bearer {KEY}-b"
    assert json.loads(second.content).items() >= {"max_tokens_per_doc": 99, "extra": 1}.items()
    assert "max_tokens_per_doc" not in json.loads(first.content)


def test_an_option_of_the_call_overrides_that_of_a_deployment(world: Worlds) -> None:
    here = world()
    here.ask(here.router(entry("a", max_tokens_per_doc=99)), max_tokens_per_doc=5)
    assert json.loads(here.requests[0].content)["max_tokens_per_doc"] == 5


@pytest.mark.parametrize(("terms", "shares"), [("weight", (3, 1)), ("rpm", (900, 300)), ("tpm", (9000, 3000))])
def test_simple_shuffle_follows_the_shares(
    sync_world: Worlds, clock: Clock, terms: str, shares: tuple[Any, Any]
) -> None:
    here, steps = sync_world(), count()
    router = here.router(entry("a", **{terms: shares[0]}), entry("b", **{terms: shares[1]}))
    clock.rng = lambda: (next(steps) % 40 + 0.5) / 40
    for _ in range(40):
        here.ask(router)
    assert Counter(here.asked) == {"a": 30, "b": 10}


def test_the_lowest_order_is_used_while_it_is_available(world: Worlds, clock: Clock) -> None:
    here = world(b=limited(10))
    router = here.router(entry("a", order=2), entry("b", order=1))
    assert ids(here.ask(router)) == ["b", "a"]
    assert ids(here.ask(router)) == ["a"]
    here.answers["b"] = ok
    clock.now += 10
    assert ids(here.ask(router)) == ["b"]


PRICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "per query": ({"input_cost_per_query": 0.5}, {"input_cost_per_query": 0.002}),
    "per token": ({"input_cost_per_token": 1.0}, {"input_cost_per_token": 1e-9}),
    "per query against per token": ({"input_cost_per_query": 0.5}, {"input_cost_per_token": 1e-9}),
    "own against the list": ({"input_cost_per_query": 0.003}, {}),
    "free": ({}, {"input_cost_per_query": 0.0}),
    "unknown": ({"model": "cohere/unlisted"}, {"input_cost_per_query": 99.0}),
}


@pytest.mark.parametrize(("expensive", "cheap"), list(PRICES.values()), ids=list(PRICES))
@pytest.mark.parametrize("where", ["litellm_params", "model_info"])
def test_cost_based_routing_asks_the_cheapest_whatever_the_kind_of_price(
    sync_world: Worlds, expensive: dict[str, Any], cheap: dict[str, Any], where: str
) -> None:
    entries = [entry("a"), entry("b")]
    for made, own in zip(entries, (expensive, cheap), strict=True):
        for name, value in own.items():
            made["litellm_params" if name == "model" else where][name] = value
    here = sync_world()
    assert ids(here.ask(here.router(*entries, routing_strategy="cost-based-routing"))) == ["b"]


def test_cost_based_routing_without_a_key_asks_another_deployment(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", api_key=None), entry("b"), routing_strategy="cost-based-routing")
    assert ids(here.ask(router)) == ["b"]


def test_cost_based_routing_with_unknown_prices_asks_any_deployment(world: Worlds) -> None:
    here = world()
    entries = [entry(name, model="cohere/unlisted") for name in "ab"]
    response = here.ask(here.router(*entries, routing_strategy="cost-based-routing"))
    assert (ids(response), response.cost) == (["a"], None)


def test_latency_based_routing_avoids_a_slow_deployment(sync_world: Worlds, clock: Clock) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        clock.now += 3.0
        return ok(request)

    here = sync_world(a=slow)
    router = here.router(routing_strategy="latency-based-routing")
    for _ in range(10):
        here.ask(router)
    assert here.asked == ["a", *["b"] * 9]


def test_latency_based_routing_forgets_a_latency_after_its_ttl(sync_world: Worlds, clock: Clock) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        clock.now += 3.0
        return ok(request)

    here = sync_world(a=slow)
    router = here.router(routing_strategy="latency-based-routing", routing_strategy_args={"ttl": 30})
    assert [ids(here.ask(router)) for _ in range(2)] == [["a"], ["b"]]
    clock.now += 31.0
    assert ids(here.ask(router)) == ["a"]


def test_usage_based_routing_balances_the_used_fractions(sync_world: Worlds) -> None:
    here = sync_world()
    router = here.router(entry("a", rpm=30), entry("b", rpm=10), routing_strategy="usage-based-routing")
    for _ in range(20):
        here.ask(router)
    assert Counter(here.asked) == {"a": 15, "b": 5}


async def test_least_busy_routing_spreads_concurrent_calls(clock: Clock) -> None:
    gate, asked = asyncio.Event(), Counter[str]()

    async def hold(request: httpx.Request) -> httpx.Response:
        asked[request.url.host] += 1
        await gate.wait()
        return ok(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(hold)) as client:
        router = Router([entry(name) for name in "abc"], routing_strategy="least-busy", http_client=client)
        calls = [asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS)) for _ in range(9)]
        while asked.total() < 9:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert asked == {f"{name}.test": 3 for name in "abc"}
        assert [each.in_flight for each in router.deployment_status()] == [3, 3, 3]
        gate.set()
        await asyncio.gather(*calls)
    assert [each.in_flight for each in router.deployment_status()] == [0, 0, 0]


def test_an_option_that_one_provider_lacks_is_refused(world: Worlds) -> None:
    here = world()
    entries = [entry("a"), entry("b", model="nvidia_nim/m")]
    assert "truncate" in str(here.error(here.router(*entries), truncate="END"))
    assert ids(here.ask(here.router(*entries), truncate="END", drop_params=True)) == ["a"]
    with pytest.raises(BadRequestError, match="truncate"):
        here.router(*entries, truncate="END")


def test_a_call_that_one_deployment_cannot_take_goes_to_another(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", model="cohere_compatible/unlisted"), entry("b"), num_retries=0)
    assert ids(here.ask(router, score_mode="unit")) == ["b"]
    assert router.deployment_status()[0].cooldown == 0.0
