"""`MemoryState`: claims, settlements, cooldowns and latencies."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.support.processes import forked, needs_fork

from anyrerank._core.routing import Cooldowns, MemoryState
from anyrerank._core.routing.load import Load, Risk, Terms, available_at
from anyrerank._core.routing.state import Claim, Failure, Outcome
from anyrerank._core.routing.window import Need

pytestmark = pytest.mark.usefixtures("clock")

FREE = Terms()
FAILED, LASTING = Failure(), Failure(lasting=True)


def rate_limited(seconds: float | None = None) -> Failure:
    return Failure(retry_after=seconds, lasting=True, rate_limited=True)


@pytest.fixture
def state() -> MemoryState:
    return MemoryState(Cooldowns(allowed_fails=3, cooldown_time=5.0))


def load(state: MemoryState) -> Load:
    return state.snapshot(["a"]).loads["a"]


def claimed(state: MemoryState, terms: Terms = FREE, need: Need = Need(), risk: Risk = Risk.HALF_OPEN) -> Claim:  # noqa: B008
    claim = state.claim("a", terms, need, risk)
    assert claim is not None
    return claim


def settled(state: MemoryState, failure: Failure | None = None, **outcome: Any) -> bool:
    """A whole call, answered unless it has a failure; whether the deployment starts to cool down."""
    given = {"seconds": 0.1, "requests": 1, "tokens": None, "answered": failure is None, **outcome}
    return state.settle(claimed(state), Outcome(failure=failure, **given))


def is_available(state: MemoryState, now: float, risk: Risk = Risk.NONE) -> bool:
    return available_at(FREE, load(state), Need(), now, risk) <= now


# Claims.


def test_a_claim_counts_a_call_in_flight_and_its_usage(state: MemoryState) -> None:
    claimed(state, need=Need(2, 30))
    assert (load(state).in_flight, load(state).requests, load(state).tokens) == (1, 2, 30)


def test_a_claim_is_refused_when_another_call_took_the_last_room(state: MemoryState) -> None:
    terms = Terms(rpm=1)
    before = state.snapshot(["a"])
    assert available_at(terms, before.loads["a"], Need(), before.now) == before.now
    claimed(state, terms)
    assert state.claim("a", terms, Need(), Risk.HALF_OPEN) is None
    assert (load(state).in_flight, load(state).requests) == (1, 1)


def test_a_claim_is_refused_when_the_deployment_started_to_cool_down(state: MemoryState) -> None:
    assert settled(state, LASTING)
    assert state.claim("a", FREE, Need(), Risk.NONE) is None
    assert state.claim("a", FREE, Need(), Risk.COOLING) is not None


def test_a_half_open_deployment_lets_one_call_through(state: MemoryState, clock: Clock) -> None:
    settled(state, LASTING)
    clock.now += 5.0
    trial = claimed(state, risk=Risk.NONE)
    assert state.claim("a", FREE, Need(), Risk.COOLING) is None
    assert state.claim("a", FREE, Need(), Risk.HALF_OPEN) is not None
    state.settle(trial, Outcome(seconds=0.1, requests=1, tokens=None, answered=True))
    assert all(state.claim("a", FREE, Need(), Risk.NONE) for _ in range(5))


def test_a_rate_limited_deployment_is_not_half_open_afterwards(state: MemoryState, clock: Clock) -> None:
    settled(state, rate_limited(2.0))
    clock.now += 2.0
    assert all(state.claim("a", FREE, Need(), Risk.NONE) for _ in range(5))


def test_threads_do_not_claim_more_than_a_limit() -> None:
    state, terms = MemoryState(Cooldowns()), Terms(rpm=10)
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(lambda _: state.claim("a", terms, Need(), Risk.HALF_OPEN), range(64)))
    assert sum(claim is not None for claim in claims) == 10


# Settlements.


def test_a_settlement_replaces_the_estimate(state: MemoryState) -> None:
    for requests, tokens, total in ((3, 40.2, (3, 41)), (1, None, (4, 141)), (0, 0, (4, 141))):
        claim = claimed(state, need=Need(1, 100))
        state.settle(claim, Outcome(seconds=0.1, requests=requests, tokens=tokens, answered=True))
        assert (load(state).requests, load(state).tokens, load(state).in_flight) == (*total, 0)


def test_a_repeated_settlement_changes_nothing(state: MemoryState) -> None:
    first, second = claimed(state), claimed(state)
    outcome = Outcome(seconds=0.1, requests=4, tokens=None, failure=LASTING)
    assert state.settle(first, outcome)
    before = load(state)
    assert not state.settle(first, outcome)
    assert load(state) == before
    assert (load(state).in_flight, load(state).requests) == (1, 5)
    state.settle(second, outcome)
    assert load(state).in_flight == 0


def test_a_call_that_was_cut_off_says_nothing_about_the_deployment(state: MemoryState, clock: Clock) -> None:
    settled(state, LASTING)
    clock.now += 5.0
    assert not settled(state, answered=False)
    assert load(state).half_open
    assert is_available(state, clock.now)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])  # noqa: S301
def test_a_copy_starts_empty(state: MemoryState, copied: Any) -> None:
    settled(state, LASTING)
    assert load(copied(state)) == Load()


def test_a_claim_of_a_copy_is_not_settled(state: MemoryState) -> None:
    other = copy.deepcopy(state)
    assert not other.settle(claimed(state), Outcome(seconds=0.1, requests=1, tokens=None, failure=LASTING))
    assert load(other) == Load()


async def test_the_asynchronous_methods_do_the_same(state: MemoryState) -> None:
    claim = await state.aclaim("a", FREE, Need(), Risk.NONE)
    assert claim is not None
    assert (await state.asnapshot(["a"])).loads["a"].in_flight == 1
    assert await state.asettle(claim, Outcome(seconds=0.1, requests=1, tokens=None, failure=LASTING))
    assert load(state).in_flight == 0


# Cooldowns.


def test_a_lasting_failure_opens_at_once(state: MemoryState, clock: Clock) -> None:
    assert settled(state, LASTING)
    assert (load(state).cooling_until, load(state).half_open) == (clock.now + 5.0, True)
    assert load(state).retry_at < clock.now


def test_other_failures_open_after_the_allowed_number_per_minute(state: MemoryState, clock: Clock) -> None:
    assert [settled(state, FAILED) for _ in range(4)] == [False, False, False, True]
    assert not is_available(state, clock.now)


def test_failures_of_the_last_minute_count_alone(state: MemoryState, clock: Clock) -> None:
    for _ in range(3):
        settled(state, FAILED)
    clock.now += 60.0
    assert not settled(state, FAILED)
    assert is_available(state, clock.now)


def test_failed_requests_of_one_call_count_together(state: MemoryState) -> None:
    assert settled(state, Failure(count=4))


@pytest.mark.parametrize(
    ("failure", "seconds"), [(rate_limited(30.0), 30.0), (rate_limited(), 5.0), (Failure(retry_after=7.0), 7.0)]
)
def test_a_server_decides_how_long_it_cools_down(
    state: MemoryState, clock: Clock, failure: Failure, seconds: float
) -> None:
    assert settled(state, failure)
    assert load(state).cooling_until == load(state).retry_at == clock.now + seconds


def test_a_server_cannot_ask_for_more_than_an_hour(state: MemoryState, clock: Clock) -> None:
    settled(state, rate_limited(1e9))
    assert load(state).cooling_until == clock.now + 3600.0


def test_a_later_failure_does_not_shorten_what_a_server_asked_for(state: MemoryState, clock: Clock) -> None:
    second = claimed(state)
    settled(state, Failure(retry_after=30.0))
    assert not state.settle(second, Outcome(seconds=0.1, requests=1, tokens=None, failure=LASTING))
    assert load(state).cooling_until == load(state).retry_at == clock.now + 30.0


def test_a_failure_after_a_cooldown_opens_again_until_an_answer(state: MemoryState, clock: Clock) -> None:
    for _ in range(4):
        settled(state, FAILED)
    clock.now += 100.0
    assert not settled(state, FAILED)  # it was not well before
    assert load(state).cooling_until == clock.now + 5.0
    clock.now += 10.0
    settled(state)
    clock.now += 90.0
    settled(state, FAILED)
    assert is_available(state, clock.now)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 10.0), st.sampled_from([FAILED, LASTING, rate_limited()]), st.none() | st.floats(0, 20)
        ),
        min_size=1,
        max_size=20,
    ),
    st.floats(0.0, 30.0),
)
def test_no_deployment_is_available_before_the_time_that_its_server_named(
    clock: Clock, failures: list[tuple[float, Failure, float | None]], pause: float
) -> None:
    clock.now = 1000.0
    state, named = MemoryState(Cooldowns()), 0.0
    claims = [claimed(state) for _ in failures]
    for claim, (wait, failure, seconds) in zip(claims, failures, strict=True):
        clock.now += wait
        named_failure = Failure(retry_after=seconds, lasting=failure.lasting, rate_limited=failure.rate_limited)
        state.settle(claim, Outcome(seconds=0.1, requests=1, tokens=None, failure=named_failure))
        named = max(named, clock.now + (seconds or 0.0))
        for risk in Risk:
            assert available_at(FREE, load(state), Need(), clock.now, risk) >= named
    later = named + pause + 5.0
    for risk in Risk:
        assert available_at(FREE, load(state), Need(), later, risk) == later


# Latencies.


def test_latency_is_the_mean_of_the_last_ten_calls_within_the_ttl(clock: Clock) -> None:
    state, short = MemoryState(Cooldowns()), MemoryState(Cooldowns(), latency_ttl=60.0)
    assert load(state).latency == 0.0
    for each in (state, short):
        settled(each, seconds=9.0)
    clock.now += 50.0
    for each in (state, short):
        settled(each, seconds=1.0)
    clock.now += 50.0
    assert (load(state).latency, load(short).latency) == (5.0, 1.0)
    for _ in range(10):
        settled(state, seconds=2.0)
    assert load(state).latency == 2.0


def test_a_failure_counts_as_a_latency_and_a_cached_answer_does_not(state: MemoryState) -> None:
    settled(state, FAILED, seconds=3.0)
    settled(state, seconds=9.0, answered=False)
    assert load(state).latency == 3.0


# Forks.


@needs_fork
def test_a_forked_child_keeps_cooldowns_and_usage_but_no_calls_in_flight(state: MemoryState) -> None:
    settled(state, LASTING)
    claim = claimed(state, need=Need(2, 30))

    def of_the_child() -> tuple[object, ...]:
        late = state.settle(claim, Outcome(seconds=0.1, requests=9, tokens=None, failure=LASTING))
        found = load(state)
        return late, found.in_flight, found.requests, found.half_open

    assert forked(of_the_child) == "(False, 0, 3, True)"
    assert load(state).in_flight == 1


@needs_fork
def test_a_forked_child_can_claim_although_other_threads_were_claiming(state: MemoryState) -> None:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            settled(state)

    with ThreadPoolExecutor(4) as pool:
        works = [pool.submit(work) for _ in range(4)]
        try:
            for _ in range(20):
                assert forked(lambda: settled(state) or load(state).in_flight) == "0"
        finally:
            over.set()
        for each in works:
            each.result()
