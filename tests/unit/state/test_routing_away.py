"""Routers whose Redis server does not answer, comes back, or comes back empty."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.support.harness import DOCUMENTS, QUERY
from tests.support.redis_server import RedisServer
from tests.support.replicas import Vendors, replicas
from tests.support.routing import entry, fails
from tests.support.waiting import eventually, took

from anyrerank import Router
from anyrerank.state import RedisState

BOUND = 0.5
"""Seconds: ten times the limit for a command, since this machine may be busy; what hangs takes longer."""


RETRIES = {"cooldown_time": 60.0, "num_retries": 1, "timeout": 0.05}


@pytest.fixture
def server(new_redis: Callable[..., RedisServer]) -> RedisServer:
    made = new_redis()
    made.start()
    return made


def test_no_call_waits_for_a_server_that_hangs(server: RedisServer) -> None:
    entries = [entry("a", rpm=1000), entry("b", order=2)]
    with replicas(2, server.url, Vendors(), entries, timeout=0.05) as (one, two):
        assert (one.ask(), two.ask()) == ("a", "a")
        server.pause()
        seconds = [took(one.ask) for _ in range(30)]
        assert max(seconds) < BOUND
        assert sum(seconds) < 3 * BOUND
        server.resume()


async def test_no_async_call_waits_for_a_server_that_hangs(server: RedisServer) -> None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(Vendors().answer))
    async with RedisState(server.url) as state:
        router = Router([entry("a", rpm=1000)], state=state, http_client=client)

        async def one() -> float:
            began = time.perf_counter()
            await router.arerank("r", QUERY, DOCUMENTS)
            return time.perf_counter() - began

        await one()
        calls = [asyncio.ensure_future(one()) for _ in range(20)]
        await asyncio.sleep(0)
        server.pause()
        calls += [asyncio.ensure_future(one()) for _ in range(20)]
        assert max(await asyncio.gather(*calls)) < BOUND
        server.resume()
    await client.aclose()


def test_each_replica_has_its_share_of_a_limit_while_the_server_is_away(server: RedisServer) -> None:
    entries = [entry("a", rpm=12), entry("b", order=2)]
    with replicas(3, server.url, Vendors(), entries, timeout=0.05) as made:
        assert eventually(lambda: all(each.state.notifications.replicas == 3 for each in made))
        server.kill()
        for each in made:
            assert Counter(each.ask() for _ in range(10)) == {"a": 4, "b": 6}


def test_limits_are_shared_again_once_the_server_is_back(server: RedisServer) -> None:
    entries = [entry("a", rpm=6), entry("b", order=2)]
    with replicas(2, server.url, Vendors(), entries) as made:
        assert made[0].ask() == "a"
        server.kill()
        assert made[0].ask() == "a"
        server.start()  # empty, and without the scripts
        assert eventually(server.answers)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: made[number % 2].ask(), range(30)))
        assert all(each.ask() == "b" for each in made)


def test_limits_go_on_where_they_were_when_the_server_has_lost_its_data(server: RedisServer) -> None:
    entries = [entry("a", rpm=6), entry("b", order=2)]
    with replicas(2, server.url, Vendors(), entries) as (one, two):
        assert eventually(lambda: one.state.notifications.replicas == two.state.notifications.replicas == 2)
        assert [one.ask(), one.ask(), one.ask(), two.ask()] == ["a"] * 4
        one.state.link.call(("FLUSHDB",))
        assert Counter(two.ask() for _ in range(6)) == {"a": 2, "b": 4}


def test_cooldowns_of_a_replica_alone_are_told_when_the_server_is_back(server: RedisServer) -> None:
    vendors = Vendors(a=fails(401))
    with replicas(2, server.url, vendors, [entry("a"), entry("b", order=2)], **RETRIES) as (one, two):
        server.pause()
        assert one.ask() == "b"
        assert one.cooldown() > 50
        assert two.cooldown() == 0
        server.resume()
        assert took(lambda: eventually(lambda: two.cooldown() > 50)) < 2


def test_news_are_heard_again_after_a_restart(server: RedisServer) -> None:
    vendors = Vendors(a=fails(401))
    with replicas(2, server.url, vendors, [entry("a"), entry("b", order=2)], **RETRIES) as (one, two):
        server.kill()
        server.start()
        one.ask()
        assert took(lambda: eventually(lambda: two.cooldown() > 50)) < 2


def test_a_warning_says_what_an_outage_changes(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    with replicas(1, server.url, Vendors(), [entry("a")]) as (one,):
        one.ask()
        server.kill()
        assert eventually(lambda: "budgets may refuse calls" in caplog.text)


def test_closing_does_not_wait_for_the_next_message(redis_url: str) -> None:
    before = set(threading.enumerate())
    state = RedisState(redis_url)
    state.notifications.start()
    state.link.call(("PING",))
    assert took(state.close) < BOUND
    assert set(threading.enumerate()) <= before


async def test_loop_goes_on_while_a_state_is_closed(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis()
    server.start()
    state = RedisState(server.url)
    state.notifications.start()
    await state.link.acall(("PING",))
    server.pause()
    closing = asyncio.ensure_future(state.aclose())
    longest, before = 0.0, time.perf_counter()
    while not closing.done():
        await asyncio.sleep(0.001)
        longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
    assert longest < BOUND


def test_thread_of_the_news_ends_with_its_state(redis_url: str) -> None:
    before = set(threading.enumerate())
    state = RedisState(redis_url)
    state.notifications.start()
    (thread,) = set(threading.enumerate()) - before
    del state
    assert eventually(lambda: not thread.is_alive())
