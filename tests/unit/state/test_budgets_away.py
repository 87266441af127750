"""Budgets in a Redis server that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from redis import Redis
from tests.support.clock import Clock
from tests.support.redis_server import RedisServer
from tests.support.spending import pay, spends
from tests.support.waiting import eventually

from anyrerank import Budget, BudgetExceededError
from anyrerank._core.pricing.spending import reserved
from anyrerank._core.runtime import arun
from anyrerank.errors import StateUnavailableError
from anyrerank.state import RedisState, budgets


@pytest.fixture
def server(new_redis: Callable[..., RedisServer]) -> RedisServer:
    made = new_redis()
    made.start()
    return made


def test_calls_are_refused_while_the_server_is_away_and_hold_nothing(server: RedisServer) -> None:
    with RedisState(server.url) as state:
        budget = Budget(1, state=state, name="away")
        pay(budget, 0.1).settle(0.1)
        in_flight = pay(budget, 0.3)
        server.pause()
        for _ in range(3):
            with pytest.raises(StateUnavailableError, match="try again") as caught:
                pay(budget, 0.2)
            assert caught.value.retry_after is not None
        in_flight.settle(0.2)
        server.resume()
        assert eventually(lambda: balance(budget) == (0.3, 0.7))


async def test_async_calls_are_refused_too_and_hold_nothing(server: RedisServer) -> None:
    async with RedisState(server.url) as state:
        budget = Budget(1, state=state, name="away")
        in_flight = await arun(reserved([(budget, None)], 0.3))
        server.pause()
        calls = [arun(reserved([(budget, None)], 0.01)) for _ in range(20)]
        refused = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in refused} == {StateUnavailableError}
        in_flight.settle(0.2)
        server.resume()
        for _ in range(400):
            await asyncio.sleep(0.01)
            if balance(budget) == (0.2, 0.8):
                break
        assert balance(budget) == (0.2, 0.8)


def balance(budget: Budget) -> tuple[float, float] | None:
    try:
        return round(budget.spent(), 9), round(budget.left(), 9)
    except StateUnavailableError:
        return None


def test_a_process_may_spend_what_was_left_when_that_is_allowed(server: RedisServer) -> None:
    with RedisState(server.url, refuse_when_away=False) as state, RedisState(server.url) as other:
        budget = Budget(1, state=state, name="away")
        everywhere = Budget(1, state=other, name="away")
        pay(budget, 0.5).settle(0.5)
        server.pause()
        assert [spends(budget, 0.2) for _ in range(3)] == [True, True, False]
        server.resume()
        assert balance(budget) == (0.9, 0.1)
        assert eventually(lambda: spends(budget, 0.0) and balance(everywhere) == (0.9, 0.1))


def test_what_was_spent_meanwhile_counts_when_the_state_is_closed(server: RedisServer) -> None:
    with RedisState(server.url, refuse_when_away=False) as state:
        budget = Budget(1, state=state, name="away")
        pay(budget, 0.5).settle(0.5)
        server.pause()
        assert spends(budget, 0.2)
        server.resume()
    with RedisState(server.url) as other:
        assert balance(Budget(1, state=other, name="away")) == (0.7, 0.3)


async def test_what_was_spent_meanwhile_counts_on_a_loop_too(server: RedisServer) -> None:
    async with RedisState(server.url, refuse_when_away=False) as state:
        budget = Budget(1, state=state, name="away")
        (await arun(reserved([(budget, None)], 0.1))).settle(0.1)
        server.pause()
        for _ in range(3):
            (await arun(reserved([(budget, None)], 0.1))).settle(0.1)
        server.resume()
        for _ in range(400):
            await asyncio.sleep(0.01)
            if balance(budget) == (0.4, 0.6):
                break
        assert balance(budget) == (0.4, 0.6)


def test_window_that_ended_while_the_server_is_away_does_not_refuse_calls(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(1e9)
    with RedisState(server.url, refuse_when_away=False) as state:
        budget = Budget(1, "365d", state=state, name="away")
        pay(budget, 1).settle(1)
        server.pause()
        assert not spends(budget, 0.5)
        monkeypatch.setattr("time.time", clock)
        assert spends(budget, 0.5)
        monkeypatch.undo()


def test_what_a_read_only_server_refuses_counts_when_it_can_be_written(server: RedisServer) -> None:
    with RedisState(server.url, timeout=5.0) as state, Redis.from_url(server.url) as client:
        budget = Budget(1, state=state, name="refused")
        in_flight = pay(budget, 0.3)
        client.replicaof("127.0.0.1", "1")
        in_flight.settle(0.2)
        with pytest.raises(StateUnavailableError, match="read only replica, so it is not known"):
            pay(budget, 0.1)
        client.replicaof("NO", "ONE")
        assert eventually(lambda: balance(budget) == (0.2, 0.8))


async def test_what_a_read_only_server_refuses_on_a_loop_counts_too(server: RedisServer) -> None:
    async with RedisState(server.url, timeout=5.0) as state:
        budget = Budget(1, state=state, name="refused")
        in_flight = await arun(reserved([(budget, None)], 0.3))
        state.link.call(("REPLICAOF", "127.0.0.1", "1"))
        in_flight.settle(0.2)
        with pytest.raises(StateUnavailableError, match="read only replica, so it is not known"):
            await arun(reserved([(budget, None)], 0.1))
        state.link.call_slowly(("REPLICAOF", "NO", "ONE"))
        assert await asyncio.to_thread(eventually, lambda: balance(budget) == (0.2, 0.8))


def test_what_was_left_is_also_known_from_a_refusal_and_from_the_ledger(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "_MOST_REMEMBERED", 3)
    # They wait long, so that only a server that is down does not answer.
    one, two = RedisState(server.url, timeout=5.0), RedisState(server.url, timeout=5.0, refuse_when_away=False)
    with one, two:
        refused, unknown, evicted = (Budget(1, "365d") for _ in range(3))
        for name, budget in (("refused", refused), ("unknown", unknown), ("evicted", evicted)):
            budget.share(two, name, lambda _, __: 0.9)
        spent_by_another = Budget(1, "365d")
        spent_by_another.share(one, "refused", lambda _, __: 0.0)
        pay(spent_by_another, 0.99).settle(0.99)
        pay(evicted, 0.01).settle(0.01)
        for number in range(3):
            pay(Budget(1, state=two, name=f"other {number}"), 0.1).settle(0.1)
        with pytest.raises(BudgetExceededError):
            pay(refused, 0.05)
        server.kill()
        for budget, dollars in ((refused, 0.05), (unknown, 0.2), (evicted, 0.2)):
            with pytest.raises(BudgetExceededError):
                pay(budget, dollars)
        pay(unknown, 0.05).settle(0.05)
        with pytest.raises(BudgetExceededError):
            pay(unknown, 0.06)
