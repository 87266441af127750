"""Requests wait for limits, evenly spaced, and what cannot wait is refused before it is sent."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.support.frameworks import FACES, Face, Wire, in_turn, refusing, well
from tests.support.harness import QUERY, Mode
from tests.support.redis_server import RedisServer
from tests.support.routing import Worlds, entry, fails, ok

from anyrerank import ConfigurationError, Limit, LimitReachedError, MemoryCache, RateLimitError, Reranker, Router
from anyrerank._core.limits import Need, Pace, Rates
from anyrerank._core.runtime import run
from anyrerank.state import RedisState

TEXTS = ["a 0.1", "b 0.9", "c 0.5"]
SECOND = 60 / 59.4
"""Seconds between two requests at 60 per minute."""


class Times(Wire):
    """Remembers when it was asked."""

    def __init__(self, clock: Clock, answer: Any = well) -> None:
        super().__init__(answer)
        self.clock = clock
        self.times: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.times.append(self.clock.now - 1_000.0)
        return super().__call__(request)


def limited(mode: Mode, wire: Wire, **options: Any) -> Reranker:
    client = mode.client(transport=httpx.MockTransport(wire))
    return mode.reranker(**{"http_client": client, "limit": Limit(rpm=60), "timeout": 60.0, **options})


def test_requests_are_evenly_spaced(mode: Mode, clock: Clock) -> None:
    wire = Times(clock)
    reranker = limited(mode, wire)
    for _ in range(4):
        mode.rerank(reranker, QUERY, TEXTS)
    assert wire.times == pytest.approx([0.0, SECOND - 0.6, 2 * SECOND - 0.6, 3 * SECOND - 0.6])


def test_retries_count(mode: Mode, clock: Clock) -> None:
    wire = Times(clock, in_turn(refusing(503), refusing(503), well))
    clock.rng = lambda: -1.0  # back-offs take no time
    response = mode.rerank(limited(mode, wire, max_retries=2), QUERY, TEXTS)
    assert wire.times == pytest.approx([0.0, SECOND - 0.6, 2 * SECOND - 0.6])
    assert [attempt.seconds for attempt in response.attempts] == [0.0, 0.0, 0.0]


def test_parts_of_a_split_call_count(mode: Mode, clock: Clock) -> None:
    wire = Times(clock)
    mode.rerank(limited(mode, wire, batch_size=1, max_concurrency=1), QUERY, TEXTS)
    assert len(wire.times) == 3
    assert wire.times[-1] == pytest.approx(2 * SECOND - 0.6)


def test_halves_of_a_call_that_is_too_large_count(mode: Mode, clock: Clock) -> None:
    wire = Times(clock, in_turn(refusing(413), well, well))
    mode.rerank(limited(mode, wire), QUERY, TEXTS)
    assert wire.times[-1] == pytest.approx(2 * SECOND - 0.6)


def test_fallbacks_count(world: Worlds, clock: Clock) -> None:
    here = world(a=fails(500), b=ok)
    router = here.router(entry("a"), entry("b", "s"), fallbacks=[{"r": ["s"]}], limit=Limit(rpm=60), num_retries=0)
    here.ask(router)
    here.ask(router)
    assert here.asked[:2] == ["a", "b"]
    assert here.times[1] - here.times[0] == pytest.approx(SECOND - 0.6)


def test_a_fallback_has_its_own_limit_too(mode: Mode, clock: Clock) -> None:
    wire = Times(clock, in_turn(refusing(401), well, well))
    client = mode.client(transport=httpx.MockTransport(wire))
    own = Reranker("voyage/rerank-2.5", api_key="k", http_client=client, limit=Limit(rpm=6))
    both = limited(mode, wire, http_client=client, fallbacks=[own])
    for _ in range(2):
        mode.rerank(both, QUERY, TEXTS)
    assert wire.times[2] - wire.times[1] == pytest.approx(10 * SECOND - 0.6)


def test_a_limit_of_two_models_counts_a_request_once(mode: Mode, clock: Clock) -> None:
    wire, limit = Times(clock, in_turn(refusing(401), well)), Limit(rpm=60)
    client = mode.client(transport=httpx.MockTransport(wire))
    spare = Reranker("voyage/rerank-2.5", api_key="k", http_client=client, limit=limit)
    mode.rerank(limited(mode, wire, http_client=client, fallbacks=[spare], limit=limit), QUERY, TEXTS)
    assert wire.times == pytest.approx([0.0, SECOND - 0.6])


def test_what_a_cache_answers_does_not_count(mode: Mode, clock: Clock) -> None:
    wire = Times(clock)
    reranker = limited(mode, wire, cache=MemoryCache())
    for _ in range(20):
        mode.rerank(reranker, QUERY, TEXTS)
    assert clock.waits == []


def test_a_turn_after_the_timeout_is_refused_at_once(mode: Mode, clock: Clock) -> None:
    wire = Times(clock)
    reranker = limited(mode, wire, limit=Limit(rpm=1), timeout=5.0)
    mode.rerank(reranker, QUERY, TEXTS)
    for _ in range(3):  # refusals take no place
        with pytest.raises(LimitReachedError, match="limit of 1 requests per minute") as caught:
            mode.rerank(reranker, QUERY, TEXTS)
        assert caught.value.retry_after == pytest.approx(60 / 0.99 - 0.6)
        assert caught.value.attempts == ()
        assert isinstance(caught.value, RateLimitError)
    assert (len(wire.times), clock.waits) == (1, [])
    assert mode.rerank(reranker, QUERY, TEXTS, on_error="passthrough").degraded
    clock.now += 60
    assert mode.rerank(reranker, QUERY, TEXTS).results.indexes == (1, 2, 0)


def test_a_refusal_is_one_error_and_cools_no_deployment_down(world: Worlds, clock: Clock) -> None:
    here = world(a=ok, b=ok, c=ok)
    router = here.router(
        entry("a"), entry("b"), entry("c", "s"), fallbacks=[{"r": ["s"]}], limit=Limit(rpm=1), timeout=5
    )
    here.ask(router)
    assert type(here.error(router)) is LimitReachedError
    assert not any(status.cooldown for status in router.deployment_status())
    assert len(here.asked) == 1


def test_a_deployment_waits_where_only_its_share_of_the_time_is_too_short(world: Worlds, clock: Clock) -> None:
    here = world(a=ok, b=ok)
    router = here.router(entry("a"), entry("b"), limit=Limit(rpm=2), timeout=40)
    here.ask(router)
    here.ask(router)  # each deployment may take 20 s; the turn comes after 30
    here.ask(router)
    assert here.times[1] - here.times[0] == pytest.approx(30 / 0.99 - 0.6)
    assert here.times[2] - here.times[1] == pytest.approx(30 / 0.99)


def test_tokens_are_estimated_first_and_corrected_afterwards(mode: Mode, clock: Clock) -> None:
    used = iter([6_000, 6_000, 600])

    def answer(request: httpx.Request) -> httpx.Response:
        rows = [{"index": 0, "relevance_score": 0.5}]
        return httpx.Response(200, json={"results": rows, "meta": {"billed_units": {"total_tokens": next(used)}}})

    wire = Times(clock, answer)
    reranker = limited(mode, wire, limit=Limit(tpm=6_000), timeout=None)
    for _ in range(3):
        mode.rerank(reranker, QUERY, ["short"])
    assert wire.times == pytest.approx([0.0, 60 / 0.99 - 0.6, 120 / 0.99 - 0.6])


def test_tokens_of_a_large_request_are_waited_for_by_the_next_one(mode: Mode, clock: Clock) -> None:
    wire = Times(clock)
    reranker = limited(mode, wire, limit=Limit(rpm=6_000, tpm=100), timeout=None)
    mode.rerank(reranker, QUERY, ["word " * 1_000])
    mode.rerank(reranker, QUERY, TEXTS)
    assert wire.times[1] > 300


def test_a_call_that_is_cut_off_gives_its_turn_back(clock: Clock) -> None:
    limit = Limit(rpm=60)
    for _ in range(3):
        flow = limit.wait(0, None)
        run_until_wait(flow)
        flow.close()
    assert run(limit.book(0, None)) == pytest.approx(SECOND - 0.6)


def run_until_wait(flow: Any) -> None:
    """Begin to wait for a turn; the first one comes at once and is used."""
    if next(flow, None) is None:
        flow.close()


@pytest.mark.parametrize("face", FACES, ids=str)
def test_a_limit_works_in_a_framework(face: Face, clock: Clock) -> None:
    wire = Times(clock)
    adapter = face.make(wire, limit=Limit(rpm=60))
    for _ in range(2):
        assert face.ranked(adapter, TEXTS)[0][0] == "b 0.9"
    assert wire.times == pytest.approx([0.0, SECOND - 0.6])


def test_threads_and_loops_share_a_limit(clock: Clock) -> None:
    limit = Limit(rpm=60_000)
    places: list[float] = []

    def book(_: int) -> None:
        places.append(run(limit.book(0, None)))

    async def many() -> None:
        for number in range(50):
            book(number)

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(asyncio.run, many()) for _ in range(4)]
        for each in work:
            each.result()
    interval = 60 / 59_400
    assert max(places) == pytest.approx(max(0.0, 199 * interval - 0.6))


@pytest.mark.parametrize(
    "given",
    [{}, {"rpm": 0}, {"tpm": -1}, {"rpm": "many"}, {"rpm": True}, {"rpm": 1, "name": "n"}, {"rpm": float("nan")}],
    ids=str,
)
def test_wrong_arguments_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Limit(**given)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda limit: pickle.loads(pickle.dumps(limit))],  # noqa: S301
    ids=["copy", "pickle"],
)
def test_a_copy_counts_on_its_own_and_says_so(copied: Callable[[Limit], Limit], clock: Clock) -> None:
    limit = Limit(rpm=60, tpm=1_000)
    run(limit.book(0, None))
    with pytest.warns(RuntimeWarning, match="counts on its own"):
        other = copied(limit)
    assert repr(other) == repr(limit)
    assert run(other.book(0, None)) == 0.0


NEEDS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), min_size=2, max_size=200)


@given(needs=NEEDS, rpm=st.integers(1, 600), tpm=st.integers(100, 10_000))
def test_no_minute_has_more_than_the_limit(needs: list[tuple[float, int]], rpm: int, tpm: int) -> None:
    pace, rates, now, sent = Pace(), Rates.of(rpm, tpm), 0.0, list[tuple[float, int]]()
    for pause, tokens in needs:
        now += pause
        sent.append((now + pace.book(rates, Need(1, tokens), now, None), tokens))
    times = [time for time, _ in sent]
    assert times == sorted(times)
    for first, (start, _) in enumerate(sent):
        minute = [tokens for time, tokens in sent[first:] if time < start + 60]
        assert len(minute) <= max(1, rpm)
        assert sum(minute[:-1]) <= tpm + 1e-6  # a request goes once all before it are paid for


@given(rpm=st.integers(1, 100_000))
def test_a_limit_is_used_up_by_calls_that_wait(rpm: int) -> None:
    pace, rates = Pace(), Rates.of(rpm, None)
    last = max(pace.book(rates, Need(1, 0), 0.0, None) for _ in range(rpm))
    assert last <= 60.01
    assert (rpm - 1) / rpm * 60 * 0.97 - 1 <= last


# Shared through Redis


@pytest.fixture
def make(redis_url: str) -> Callable[..., Limit]:
    return lambda *rates: Limit(*rates, state=RedisState(redis_url), name="n")


def booked(mode: Mode, limit: Limit, tokens: int = 0, longest: float | None = None) -> float:
    from anyrerank._core.runtime import arun

    return mode.run(arun(limit.book(tokens, longest))) if mode.asynchronous else run(limit.book(tokens, longest))


def test_processes_share_a_limit(mode: Mode, make: Callable[..., Limit]) -> None:
    limits = [make(1), make(1), pickle.loads(pickle.dumps(make(1)))]  # noqa: S301
    waits = [booked(mode, limit) for limit in limits]
    assert waits == pytest.approx([0.0, 60 / 0.99 - 0.6, 120 / 0.99 - 0.6], abs=2)


def test_a_shared_limit_refuses_what_comes_too_late(mode: Mode, make: Callable[..., Limit]) -> None:
    first, second = make(1), make(1)
    booked(mode, first, longest=5.0)
    for _ in range(3):
        with pytest.raises(LimitReachedError) as caught:
            booked(mode, second, longest=5.0)
        assert caught.value.retry_after == pytest.approx(60, abs=3)


def test_a_place_that_is_given_back_is_free_for_others(mode: Mode, make: Callable[..., Limit]) -> None:
    first, second = make(1, 1_000), make(1, 1_000)
    booked(mode, first, 100)
    booked(mode, first, 100)

    async def give() -> None:
        first.give_back(100)
        await first_state.aclose()

    first_state: Any = first._state
    mode.run(give()) if mode.asynchronous else first.give_back(100)
    assert booked(mode, second, 100) == pytest.approx(60 / 0.99 - 0.6, abs=2)


def test_tokens_of_others_are_corrected(sync_mode: Mode, make: Callable[..., Limit]) -> None:
    first, second = make(None, 60_000), make(None, 60_000)
    booked(sync_mode, first, 100)
    first.correct(5_900)
    assert booked(sync_mode, second, 1) == pytest.approx(6 / 0.99 - 0.6, abs=2)


def test_a_process_has_its_share_while_the_server_is_away(mode: Mode, new_redis: Callable[..., RedisServer]) -> None:
    redis = new_redis()
    redis.start()
    state = RedisState(redis.url)
    limit = Limit(6, state=state, name="n")
    booked(mode, limit)
    redis.kill()
    waits = [booked(mode, limit) for _ in range(2)]
    assert waits == pytest.approx([0.0, 10 / 0.99], abs=0.4)  # without a burst
    state.close()


def test_a_limit_of_a_router_is_an_option() -> None:
    router = Router([entry("a")], limit=Limit(rpm=5))
    assert repr(router.as_reranker().options.limit) == "Limit(rpm=5, tpm=None)"
