"""Requests, tokens and concurrency in Redis, against a model that remembers everything."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.support.redis_clock import TimedLink

from anyrerank._core.redis import Command, RedisLink, RedisUnavailableError
from anyrerank._core.runtime import arun, run
from anyrerank.state import RedisCalls, RedisState
from anyrerank.state.calls import Counted


@pytest.fixture
def link(redis_url: str) -> Iterator[TimedLink]:
    with closing(TimedLink(redis_url)) as made:
        yield made


@dataclass
class Model:
    """All calls that were counted, as [second, requests, tokens]; a second counts until its end is a minute old."""

    now: float
    calls: list[list[int]] = field(default_factory=list)

    def used(self, now: float) -> tuple[int, int]:
        recent = [each for each in self.calls if each[0] + 61 > now]
        return sum(each[1] for each in recent), sum(each[2] for each in recent)

    def allows(self, now: float, rpm: int | None, tpm: int | None, requests: int, tokens: int) -> bool:
        used = self.used(now)
        return used[0] + requests <= max(rpm or math.inf, requests) and used[1] + tokens <= max(tpm or math.inf, tokens)

    def wait(self, rpm: int | None, tpm: int | None, requests: int, tokens: int) -> float:
        """Seconds until it is allowed if nothing else happens: only the ends of seconds can change that."""
        ends = sorted({each[0] + 61 for each in self.calls if each[0] + 61 > self.now})
        return next(end for end in ends if self.allows(end, rpm, tpm, requests, tokens)) - self.now


_LIMITS = st.tuples(st.none() | st.integers(1, 6), st.none() | st.integers(1, 60))
_STEPS = st.one_of(
    st.tuples(st.just("count"), st.integers(0, 3), st.integers(0, 40)),
    st.tuples(st.just("correct"), st.integers(0, 9), st.integers(-10, 40)),
    st.tuples(st.just("move"), st.sampled_from([1, 400, 1000, 20_000, 59_500, 60_000]), st.just(0)),
    st.tuples(st.just("wait"), st.just(0), st.just(0)),
)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEPS, max_size=30), limits=_LIMITS, start=st.integers(0, 999))
def test_no_minute_has_more_than_the_limit_and_the_wait_is_right(
    steps: list[tuple[str, int, int]], limits: tuple[int | None, int | None], start: int, link: TimedLink
) -> None:
    link.empty()
    link.move(math.ceil(link.now) - link.now + start / 1000)
    calls, model = RedisCalls(link, "test"), Model(link.now)
    waits = 0.0
    for what, first, second in steps:
        if what in ("move", "wait"):
            link.move(first / 1000 if what == "move" else waits)
            model.now, waits = link.now, 0.0
        elif what == "correct":
            if model.calls:
                call = model.calls[first % len(model.calls)]
                more = max(second, -call[2])
                calls.correct(call[0], 0, more)
                call[2] += more
        else:
            expected = model.allows(model.now, *limits, first, second)
            counted = run(calls.count(*limits, first, second))
            used = model.used(model.now)
            if expected:
                assert counted == Counted(int(model.now), used[0] + first, used[1] + second)
                model.calls.append([int(model.now), first, second])
            else:
                assert (counted.second, counted.requests, counted.tokens) == (None, *used)
                assert counted.wait == pytest.approx(model.wait(*limits, first, second), abs=0.002)
                waits = counted.wait


def test_call_above_a_limit_waits_for_an_empty_minute(link: TimedLink) -> None:
    calls = RedisCalls(link, "test")
    assert run(calls.count(2, 100, 5, 500)).second is not None
    refused = run(calls.count(2, 100, 5, 500))
    link.move(refused.wait - 0.002)
    assert run(calls.count(2, 100, 5, 500)).second is None
    link.move(0.002)
    assert run(calls.count(2, 100, 5, 500)).second is not None


def test_clock_that_is_set_back_leaves_nothing_behind(link: TimedLink) -> None:
    calls = RedisCalls(link, "test")
    run(calls.count(5, None, 2, 0))
    link.move(-30)
    run(calls.count(5, None, 2, 0))
    for _ in range(4):
        link.move(25)
        run(calls.count(None, None, 0, 0))  # or the server would forget all of it after a minute
    assert run(calls.count(5, None, 1, 0)).requests == 1


def test_correction_of_a_second_that_counts_no_more_changes_nothing(link: TimedLink) -> None:
    calls = RedisCalls(link, "test")
    counted = run(calls.count(None, 100, 1, 10))
    assert counted.second is not None
    link.move(70)
    assert run(calls.count(None, 100, 1, 5)).tokens == 5
    calls.correct(counted.second, 0, 90)
    assert run(calls.count(None, 100, 1, 5)).tokens == 10


def test_threads_and_loops_together_never_exceed_a_limit(redis_url: str) -> None:
    counted: list[Counted] = []

    def in_a_thread() -> None:
        with closing(RedisLink(redis_url, timeout=5.0)) as link:
            counted.extend([run(RedisCalls(link, "race").count(100, None, 1, 0)) for _ in range(40)])

    async def on_a_loop() -> None:
        async with RedisState(redis_url, timeout=5.0, prefix="race") as state:
            calls = RedisCalls(state.link, "race")
            counted.extend(await asyncio.gather(*(arun(calls.count(100, None, 1, 0)) for _ in range(40))))

    threads = [threading.Thread(target=in_a_thread) for _ in range(2)]
    threads += [threading.Thread(target=asyncio.run, args=(on_a_loop(),)) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(counted), sum(each.second is not None for each in counted)) == (160, 100)


def test_calls_in_flight_are_limited_and_leave(link: TimedLink) -> None:
    calls = RedisCalls(link, "test")
    first, second, third = (run(calls.enter(2)) for _ in range(3))
    assert first[0] is not None
    assert [first[1], second[1], third] == [1, 2, (None, 2)]
    calls.leave(first[0])
    assert run(calls.enter(2))[1] == 2
    assert run(calls.enter(0))[0] is None


async def test_calls_that_are_cancelled_while_they_enter_are_not_in_flight(redis_url: str) -> None:
    async with RedisState(redis_url, timeout=5.0) as state:
        calls = state.calls("cancelled")
        for steps in range(12):
            task = asyncio.ensure_future(arun(calls.enter(5)))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            (done,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(done, tuple):
                calls.leave(str(done[0]))
            ticket, count = await arun(calls.enter(5))
            assert ticket is not None
            assert count == 1
            calls.leave(ticket)


def test_calls_of_a_killed_process_count_no_more_after_a_minute_and_renewed_ones_do(link: TimedLink) -> None:
    calls = RedisCalls(link, "test")
    killed, mine = (run(calls.enter(2))[0] for _ in range(2))
    assert run(calls.enter(2)) == (None, 2)
    link.move(50)
    assert mine is not None
    run(calls.renew([mine]))
    link.move(11)
    assert run(calls.enter(2))[1] == 2
    assert run(calls.enter(2)) == (None, 2)
    link.empty()
    run(calls.renew([mine]))
    assert run(calls.enter(1)) == (None, 1)
    calls.leave(mine)
    assert run(calls.enter(1))[1] == 1
    assert killed != mine


@pytest.fixture
def clock(link: TimedLink) -> Clock:
    """The clock of the process; `wait_for` moves it together with that of the server."""
    return Clock(link.now)


def wait_for(seconds: float, clock: Clock, link: TimedLink) -> None:
    clock.now += seconds
    link.move(seconds)


def test_calls_that_were_allowed_without_the_server_count_for_the_rest_of_their_minute(
    link: TimedLink, clock: Clock
) -> None:
    calls = RedisCalls(link, "test", clock=clock)
    for _ in range(3):
        calls.add(2, 20)
        wait_for(20, clock, link)
    assert run(calls.count(None, None, 1, 1)) == Counted(int(link.now), 7, 61)
    wait_for(2, clock, link)
    assert run(RedisCalls(link, "test").count(None, None, 1, 1)) == Counted(int(link.now), 6, 42)
    wait_for(70, clock, link)
    assert run(calls.count(None, None, 1, 1)).requests == 1


def test_calls_that_the_server_has_lost_are_counted_again_once(link: TimedLink, clock: Clock) -> None:
    calls, other = RedisCalls(link, "test", clock=clock), RedisCalls(link, "test", clock=clock)
    run(calls.count(None, None, 1, 10))
    wait_for(30, clock, link)
    run(other.count(None, None, 3, 30))
    counted = run(calls.count(None, None, 5, 50))
    calls.correct(counted.second, 0, 7)
    calls.add(11, 110)
    calls.correct(None, 0, -9)
    calls.add(17, 170, is_counted=True)
    link.empty()
    for each in (calls, calls, other):  # the first one has to try again
        each.give_back("first")
    assert run(other.count(None, None, 0, 0)) == Counted(int(link.now), 26, 267)
    assert run(calls.count(None, None, 0, 0)) == Counted(int(link.now), 37, 368)
    wait_for(32, clock, link)
    assert run(other.count(None, None, 0, 0)) == Counted(int(link.now), 36, 358)
    link.empty()
    for each in (calls, other):
        each.give_back("second")
    assert run(other.count(None, None, 0, 0)) == Counted(int(link.now), 36, 358)


def test_calls_whose_count_was_not_confirmed_are_counted_once(link: TimedLink, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, send = RedisCalls(link, "test"), link.call

    def lose_the_reply(command: Command) -> object:
        send(command)
        raise RedisUnavailableError("no reply", may_have_run=True)

    calls.add(3, 30)
    monkeypatch.setattr(link, "call", lose_the_reply)
    for _ in range(2):
        with pytest.raises(RedisUnavailableError):
            calls.catch_up()
        calls.add(1, 1)
    monkeypatch.undo()
    assert run(calls.count(None, None, 1, 1)).requests == 6


def test_late_calls_that_arrive_again_after_later_ones_are_counted_once(
    link: TimedLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, send, sent = RedisCalls(link, "test"), link.call, list[Command]()

    def remember(command: Command) -> object:
        sent.append(command)
        return send(command)

    monkeypatch.setattr(link, "call", remember)
    for requests in (3, 2):
        calls.add(requests, 0)
        calls.catch_up()
    calls.give_back("a loss")
    before = run(calls.count(None, None, 0, 0)).requests
    for command in sent[:3]:
        send(command)
    assert run(calls.count(None, None, 0, 0)).requests == before == 10
