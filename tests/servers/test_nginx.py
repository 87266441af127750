"""The configuration of nginx that is shipped: what it sends on and asks again, and restarts of gateways under load."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from anyrerank.ledger import Ledger
from anyrerank.testing import StubServer
from tests.servers.nginx_server import ROOT, GatewayServer, NginxServer
from tests.support.server_process import new_server

ASK = {"model": "rerank", "query": "red planet", "documents": ["Venus", "Mars is the red planet"]}
CONFIG = ROOT / "deploy" / "kubernetes" / "config.yaml"
MASTER_KEY = "sk-master-4Fq8Zr1uXw"


@pytest.fixture
def stubs() -> Iterator[tuple[StubServer, StubServer]]:
    with StubServer() as first, StubServer() as second:
        yield first, second


@pytest.fixture
def nginx() -> Iterator[Callable[..., NginxServer]]:
    """Starts nginx in front of some ports."""
    with ExitStack() as running:

        def start(*ports: int) -> NginxServer:
            server = running.enter_context(new_server(partial(NginxServer, gateways=ports)))
            server.start()
            return server

        yield start


def test_gateway_that_refuses_the_connection_is_passed_over(
    nginx: Callable[..., NginxServer], stubs: tuple[StubServer, StubServer]
) -> None:
    alive, dead = stubs
    dead.close()
    url = nginx(dead.port, alive.port).url
    statuses = [httpx.post(f"{url}/v1/rerank", json=ASK).status_code for _ in range(20)]

    assert statuses == [200] * 20
    assert len(alive.requests) == 20


def test_gateway_that_is_back_answers_at_once_when_the_other_one_is_restarted(
    nginx: Callable[..., NginxServer], stubs: tuple[StubServer, StubServer]
) -> None:
    first, second = stubs
    first.close()
    url = nginx(first.port, second.port).url
    assert {httpx.post(f"{url}/v1/rerank", json=ASK).status_code for _ in range(4)} == {200}
    with StubServer(port=first.port) as back:
        second.close()
        assert {httpx.post(f"{url}/v1/rerank", json=ASK).status_code for _ in range(4)} == {200}
        assert len(back.requests) == 4


@pytest.mark.parametrize("how", ["disconnect", 500, 502, 503, 429])
def test_call_that_reached_a_gateway_is_not_sent_again(
    nginx: Callable[..., NginxServer], stubs: tuple[StubServer, StubServer], how: int | str
) -> None:
    for each in stubs:
        each.fail(how, headers={"retry-after": "7"}) if isinstance(how, int) else each.fail("disconnect")
    answer = httpx.post(f"{nginx(*(each.port for each in stubs)).url}/v1/rerank", json=ASK)

    assert sum(len(each.requests) for each in stubs) == 1
    assert answer.status_code == (how if isinstance(how, int) else 502)
    assert answer.headers.get("retry-after") == ("7" if isinstance(how, int) else None)


def test_call_that_no_gateway_answers_has_an_error_in_json(
    nginx: Callable[..., NginxServer], stubs: tuple[StubServer, StubServer]
) -> None:
    for each in stubs:
        each.close()
    answer = httpx.post(f"{nginx(*(each.port for each in stubs)).url}/v1/rerank", json=ASK)

    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["type"] == "upstream_error"


def test_request_reaches_the_gateway_unchanged(
    nginx: Callable[..., NginxServer], stubs: tuple[StubServer, StubServer]
) -> None:
    large = {**ASK, "documents": ["x" * 1_000_000] * 15}
    server = nginx(stubs[0].port)
    path = "/tei/cohere%2Frerank-v3.5//rerank"
    httpx.post(server.url + path, json=large, headers={"authorization": "Bearer k", "x-request-id": "mine"})

    (sent,) = stubs[0].requests
    assert (sent.target, len(sent.documents)) == (path, 15)
    assert (sent.headers["authorization"], sent.headers["x-request-id"]) == ("Bearer k", "mine")
    assert (sent.headers["host"], sent.headers["x-forwarded-for"]) == (f"127.0.0.1:{server.port}", "127.0.0.1")


def test_body_that_a_gateway_would_refuse_is_refused_in_json(
    nginx: Callable[..., NginxServer], stubs: tuple[StubServer, StubServer]
) -> None:
    large = {**ASK, "documents": ["x" * 17 * 2**20]}
    answer = httpx.post(f"{nginx(stubs[0].port).url}/v1/rerank", json=large)

    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "too_large")
    assert stubs[0].requests == []


def test_key_in_a_url_is_not_in_the_log(
    nginx: Callable[..., NginxServer], stubs: tuple[StubServer, StubServer]
) -> None:
    server = nginx(stubs[0].port)
    httpx.get(f"{server.url}/key/info?key=sk-secret")
    httpx.get(f"{server.url}/key/sk-secret/regenerate")
    server.stop()
    log = (server.folder / "log").read_text(encoding="utf-8")
    assert "GET /key/info 404" in log
    assert "GET /key/***/regenerate 404" in log
    assert "sk-secret" not in log


def test_each_gateway_is_restarted_under_load_and_no_call_fails(
    nginx: Callable[..., NginxServer], database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with StubServer() as vendor, ExitStack() as running:
        environment = {
            "LITELLM_MASTER_KEY": MASTER_KEY,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "COHERE_API_KEY": "vendor-key",
            "COHERE_API_BASE": vendor.url,
        }
        make = partial(GatewayServer, config=CONFIG, environment=environment)
        gateways = [running.enter_context(new_server(make)) for _ in range(2)]
        for each in gateways:
            each.start()
        proxy = nginx(*(each.port for each in gateways))
        url = proxy.url
        stop, statuses = threading.Event(), Counter[int]()

        def ask() -> list[int]:
            found = []
            with httpx.Client(base_url=url, headers={"authorization": f"Bearer {MASTER_KEY}"}, timeout=60) as client:
                while not stop.is_set():
                    found.append(client.post("/v1/rerank", json=ASK).status_code)
            return found

        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(ask) for _ in range(8)]
            try:
                for each in gateways:
                    before = len(vendor.requests)
                    each.stop()
                    assert vendor.wait_for_requests(before + 100)
                    each.start()
            finally:
                stop.set()
            for call in calls:
                statuses.update(call.result())
        for each in gateways:
            each.stop()

        lines = (proxy.folder / "log").read_text(encoding="utf-8").splitlines()
        assert statuses == {200: len(vendor.requests)}, [line for line in lines if " 502 " in line or "[error]" in line]
        with closing(Ledger(database_url, spool=tmp_path / "spool")) as ledger:
            (total,) = ledger.spend(())
        assert total.calls == statuses[200]
