"""Requests, tokens and concurrency of a key."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.support.gateway import entry
from tests.support.keys import ASK, Running, bearer, paid, serving

from anyrerank.gateway.errors import GatewayError
from anyrerank.gateway.keys.key import Key
from anyrerank.gateway.keys.limits import Limits
from anyrerank.testing import Exchange, StubServer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gateway(tmp_path: Path, clock: Clock) -> Iterator[Running]:
    with serving(tmp_path, monotonic=clock) as found:
        yield found


def test_requests_beyond_the_limit_are_refused_until_a_minute_has_passed(gateway: Running, clock: Clock) -> None:
    key = gateway.new_key(rpm_limit=2)
    first = gateway.rerank(key)
    clock.now += 20
    second, third = gateway.rerank(key), gateway.rerank(key)
    assert [each.status_code for each in (first, second, third)] == [200, 200, 429]
    assert [each.headers["x-ratelimit-remaining-requests"] for each in (first, second, third)] == ["1", "0", "0"]
    assert third.headers["x-ratelimit-limit-requests"] == "2"
    assert third.headers["x-ratelimit-reset-requests"] == "60"
    assert third.headers["retry-after"] == "40"
    assert third.json()["error"]["type"] == "rate_limit_exceeded"
    clock.now += 39.9
    assert gateway.rerank(key).status_code == 429
    clock.now += 0.2
    assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]


def test_limit_of_nothing_allows_nothing(gateway: Running) -> None:
    for name in ("rpm_limit", "tpm_limit", "max_parallel_requests"):
        answer = gateway.rerank(gateway.new_key(**{name: 0}))
        assert (answer.status_code, "retry-after" in answer.headers) == (429, False)


def test_dry_run_counts_as_a_request(gateway: Running) -> None:
    key = gateway.new_key(rpm_limit=1)
    assert [gateway.rerank(key, {"x-anyrerank-dry-run": "true"}).status_code for _ in range(2)] == [200, 429]


def test_limits_of_keys_are_apart_and_the_master_key_has_none(gateway: Running) -> None:
    first, second = gateway.new_key(rpm_limit=1), gateway.new_key(rpm_limit=1)
    assert [gateway.rerank(key).status_code for key in (first, first, second)] == [200, 429, 200]


def test_changed_limit_counts_at_once_and_forgets_nothing(gateway: Running) -> None:
    key = gateway.new_key(rpm_limit=1)
    assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]
    gateway.post("/key/update", key=key, rpm_limit=2)
    assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]


async def test_200_calls_at_once_count_one_by_one(gateway: Running) -> None:
    key = gateway.new_key(rpm_limit=10)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=200), timeout=60) as client:
        answers = await asyncio.gather(
            *(client.post(f"{gateway.url}/rerank", json=ASK, headers=bearer(key)) for _ in range(200))
        )
    assert sorted(each.status_code for each in answers) == [200] * 10 + [429] * 190


def test_tokens_are_estimated_first_and_corrected_after(tmp_path: Path, clock: Clock) -> None:
    def voyage(exchange: Exchange) -> None:
        rows = [{"index": index, "relevance_score": 0.5} for index in range(2)]
        exchange.respond(body={"data": rows, "usage": {"total_tokens": 90}})

    with (
        StubServer(handler=voyage) as vendor,
        serving(tmp_path, [paid(vendor.url, model="voyage/rerank-2.5")], monotonic=clock) as gateway,
    ):
        key = gateway.new_key(tpm_limit=100)
        first = gateway.rerank(key)
        assert first.status_code == 200
        assert first.headers["x-ratelimit-limit-tokens"] == "100"
        assert first.headers["x-ratelimit-remaining-tokens"] == "10"
        second = gateway.rerank(key)
        assert (second.status_code, second.headers["retry-after"]) == (429, "60")
        clock.now += 60.1
        assert gateway.rerank(key).status_code == 200
        assert len(vendor.requests) == 2
        large = gateway.rerank(key, documents=["word " * 1_000])
        assert (large.status_code, "retry-after" in large.headers) == (429, False)
        assert "fewer or shorter documents" in large.json()["message"]
        assert gateway.rerank(key, instruction="word " * 1_000).status_code == 429


def test_bodies_that_do_not_arrive_are_requests_at_the_same_time(gateway: Running) -> None:
    key = gateway.new_key(max_parallel_requests=1)
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as slow:
        lines = f"POST /rerank HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        slow.sendall(f"{lines}expect: 100-continue\r\ncontent-length: 1000\r\n\r\n".encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 100")  # the gateway waits for the body
        assert gateway.rerank(key).status_code == 429
        assert gateway.rerank(gateway.new_key(max_parallel_requests=1)).status_code == 200
    while gateway.rerank(key).status_code != 200:
        pass  # until the gateway has seen that the client went away


def test_requests_at_the_same_time_are_limited(tmp_path: Path) -> None:
    arrived, go = threading.Event(), threading.Event()

    def late(exchange: Exchange) -> None:
        arrived.set()
        assert go.wait(20)
        exchange.rank()

    with StubServer(handler=late) as vendor, serving(tmp_path, [paid(vendor.url), entry("free")]) as gateway:
        key = gateway.new_key(max_parallel_requests=1)
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(gateway.rerank(key)))
        thread.start()
        assert arrived.wait(20)
        refused = gateway.rerank(key, model="free")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert gateway.rerank(gateway.new_key(), model="free").status_code == 200
        go.set()
        thread.join()
        assert answers[0].status_code == 200
        assert gateway.rerank(key, model="free").status_code == 200


def test_failed_request_gives_its_place_back(tmp_path: Path) -> None:
    with StubServer() as vendor, serving(tmp_path, [paid(vendor.url)]) as gateway:
        vendor.fail(400)
        key = gateway.new_key(max_parallel_requests=1)
        assert [gateway.rerank(key).status_code for _ in range(3)] == [400] * 3
        assert [gateway.rerank(key, model="none").status_code for _ in range(2)] == [400] * 2


def test_keys_have_the_concurrency_of_the_settings(tmp_path: Path) -> None:
    with serving(tmp_path, max_parallel_requests=0) as gateway:
        assert gateway.rerank(gateway.new_key()).status_code == 429
        assert gateway.rerank(gateway.new_key(max_parallel_requests=1)).status_code == 200


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 30), st.integers(0, 30)), max_size=60))
def test_no_minute_has_more_than_the_limits(calls: list[tuple[float, int, int]]) -> None:
    clock, key = Clock(), Key(token="t", key_name="k", rpm_limit=5, tpm_limit=60)
    limits = Limits(clock)
    let_in: list[tuple[float, int]] = []
    waits: list[float] = []
    for later, tokens, used in calls:
        clock.now += later
        try:
            place = asyncio.run(limits.count(key, tokens))
        except GatewayError as error:
            waits.append(error.retry_after or 1.0)
            continue
        before = [each for moment, each in let_in if moment > clock.now - 60]
        assert len(before) < 5
        assert sum(before) + tokens <= 60
        limits.correct(place, used - tokens)
        let_in.append((clock.now, used))
    assert all(0 < wait <= 61 for wait in waits)
