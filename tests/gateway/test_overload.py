"""More requests than a gateway can work on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running
from tests.support.loopback import MAX_WAIT

from anyrerank.gateway import Gateway
from anyrerank.gateway.operation import LIVENESS, READINESS
from anyrerank.testing import StubServer

ASK = {"model": "rerank", "query": "red planet", "documents": ["Venus", "Mars is the red planet"]}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}
IN_FLIGHT, QUEUE = 4, 4
OFFERED = 10 * (IN_FLIGHT + QUEUE)


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        server.fail("hang", times=IN_FLIGHT)
        yield server


def gateway_over(vendor: StubServer, queue_seconds: float) -> Gateway:
    models = [entry("rerank", "cohere/rerank-v3.5", api_key="vendor-key", api_base=vendor.url)]
    settings = {"max_in_flight": IN_FLIGHT, "queue": QUEUE, "queue_seconds": queue_seconds}
    return gateway_of(models, settings=settings)


def ask(url: str) -> httpx.Response:
    return httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS, timeout=3 * MAX_WAIT)


def test_overload_is_refused_at_once_while_accepted_calls_and_probes_are_answered(vendor: StubServer) -> None:
    with ThreadPoolExecutor(OFFERED) as pool, running(gateway_over(vendor, queue_seconds=MAX_WAIT)) as url:
        calls = [pool.submit(ask, url) for _ in range(OFFERED)]
        done = as_completed(calls)
        refused = [next(done).result() for _ in range(OFFERED - IN_FLIGHT - QUEUE)]  # nothing else can end yet
        probes = [httpx.get(url + path) for path in (*LIVENESS, *READINESS)]
        numbers = httpx.get(f"{url}/metrics").text
        stranger = httpx.post(f"{url}/rerank", json=ASK)
        sent = len(vendor.requests)
        vendor.recover()
        answered = [call.result() for call in done]

    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(answer.json()["error"]["type"] == "overloaded" for answer in refused)
    assert {probe.status_code for probe in probes} == {200}
    assert stranger.status_code == 401  # and took no place of others
    assert f"anyrerank_in_flight {IN_FLIGHT}.0" in numbers
    assert f"anyrerank_queue_depth {QUEUE}.0" in numbers
    rejected = 'anyrerank_rejected_total{key_alias="master",owner="",reason="overloaded"}'
    assert f"{rejected} {OFFERED - IN_FLIGHT - QUEUE}.0" in numbers
    assert sent == IN_FLIGHT
    assert [answer.status_code for answer in answered] == [200] * (IN_FLIGHT + QUEUE)


def test_request_that_waits_too_long_is_refused_and_leaves_the_queue(vendor: StubServer) -> None:
    with ThreadPoolExecutor(OFFERED) as pool, running(gateway_over(vendor, queue_seconds=0.2)) as url:
        calls = [pool.submit(ask, url) for _ in range(IN_FLIGHT + QUEUE)]
        done = as_completed(calls)
        refused = [next(done).result() for _ in range(QUEUE)]
        numbers = httpx.get(f"{url}/metrics").text
        vendor.recover()
        answered = [call.result() for call in done]
        next_one = ask(url)

    assert {answer.status_code for answer in refused} == {503}
    assert "anyrerank_queue_depth 0.0" in numbers
    assert [answer.status_code for answer in answered] == [200] * IN_FLIGHT
    assert next_one.status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_that_are_too_large_together_are_refused(vendor: StubServer, *, chunked: bool) -> None:
    models = [entry("rerank", "cohere/rerank-v3.5", api_key="vendor-key", api_base=vendor.url)]
    body = httpx.Request("POST", "http://any", json={**ASK, "documents": ["a" * 300_000, "b" * 300_000]}).content

    def send(url: str) -> httpx.Response:
        parts = (body[start : start + 10_000] for start in range(0, len(body), 10_000))
        return httpx.post(f"{url}/rerank", content=parts if chunked else body, headers=HEADERS, timeout=3 * MAX_WAIT)

    with ThreadPoolExecutor() as pool, running(gateway_of(models, settings={"max_held_mb": 1})) as url:
        first = pool.submit(send, url)
        assert vendor.wait_for_requests(1)
        small = pool.submit(ask, url)
        refused = send(url)
        assert vendor.wait_for_requests(2)
        vendor.recover()
        answered = [first.result(), small.result()]
        later = send(url)
        numbers = httpx.get(f"{url}/metrics").text

    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert [answer.status_code for answer in (*answered, later)] == [200, 200, 200]
    assert "anyrerank_held_bytes 0.0" in numbers
