"""`decide`: which deployment a call asks, as a pure function of a snapshot."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.routing import ALMOST_1

from anyrerank._core.routing import STRATEGIES
from anyrerank._core.routing.decisions import Ask, Decision, GiveUp, WaitUntil, decide
from anyrerank._core.routing.load import Load, Risk, Terms, available_at
from anyrerank._core.routing.strategies import Basis, Target
from anyrerank._core.routing.window import Need, Slot

NOW = 100.0


def target(
    load: Load | None = None, *, tried: bool = False, not_before: float | None = -math.inf, **terms: Any
) -> Target:
    return Target(terms=Terms(**terms), load=load or Load(), tried=tried, not_before=not_before)


def decided(*targets: Target, last: bool = False, number: float = 0.0) -> Decision:
    return decide(targets, STRATEGIES["simple-shuffle"], Basis(lambda: number), NOW, last=last)


COOLING = Load(cooling_until=NOW + 5, half_open=True)
ASKED_TO_WAIT = Load(cooling_until=NOW + 5, retry_at=NOW + 5)
ON_TRIAL = Load(cooling_until=NOW - 1, half_open=True, in_flight=1)
FULL = Load(requests=3, slots=(Slot(NOW - 40, 3, 0),))


# What is available.


@pytest.mark.parametrize(
    ("load", "times"),
    [
        (Load(), (NOW, NOW, NOW)),
        (COOLING, (NOW + 5, NOW, NOW)),
        (ASKED_TO_WAIT, (NOW + 5, NOW + 5, NOW + 5)),
        (ON_TRIAL, (math.inf, math.inf, NOW)),
        (Load(cooling_until=NOW + 5, half_open=True, in_flight=1), (NOW + 5, math.inf, NOW)),
        (Load(half_open=True), (NOW, NOW, NOW)),
        (Load(in_flight=9), (NOW, NOW, NOW)),
        (FULL, (NOW + 20, NOW + 20, NOW + 20)),
    ],
    ids=["idle", "cooling", "asked to wait", "on trial", "cooling and busy", "half-open", "busy", "full"],
)
def test_risk_decides_when_a_deployment_is_available(load: Load, times: tuple[float, float, float]) -> None:
    assert tuple(available_at(Terms(rpm=3), load, Need(), NOW, risk) for risk in Risk) == times


# What is decided.


def test_no_target_gives_up() -> None:
    assert decided() == decided(target(not_before=None), last=True) == GiveUp()


def test_an_available_target_is_asked() -> None:
    assert decided(target(COOLING), target()) == Ask(1, Risk.NONE)


def test_an_untried_target_is_asked_before_a_tried_one() -> None:
    assert decided(target(tried=True), target(order=9)) == Ask(1, Risk.NONE)
    assert decided(target(tried=True), target(not_before=NOW + 1)) == Ask(0, Risk.NONE)


def test_the_lowest_order_is_asked_first() -> None:
    assert decided(target(order=3), target(order=2), target(order=2)) == Ask(1, Risk.NONE)
    assert decided(target(order=3), target(order=2), target(order=2), number=0.9) == Ask(2, Risk.NONE)
    assert decided(target(order=3), target(COOLING, order=2)) == Ask(0, Risk.NONE)


def test_the_earliest_time_is_waited_for() -> None:
    assert decided(target(not_before=NOW + 3), target(COOLING), target(FULL, rpm=3)) == WaitUntil(NOW + 3)


def test_a_cooldown_is_only_ignored_if_no_other_group_is_left() -> None:
    assert decided(target(COOLING)) == WaitUntil(NOW + 5)
    assert decided(target(COOLING), last=True) == Ask(0, Risk.COOLING)


def test_a_time_that_a_server_named_is_never_ignored() -> None:
    assert decided(target(ASKED_TO_WAIT), last=True) == WaitUntil(NOW + 5)


def test_a_trial_of_another_call_is_only_joined_if_nothing_else_can_be_waited_for() -> None:
    assert decided(target(ON_TRIAL)) == GiveUp()
    assert decided(target(ON_TRIAL), last=True) == Ask(0, Risk.HALF_OPEN)
    assert decided(target(ON_TRIAL), target(not_before=NOW + 1), last=True) == WaitUntil(NOW + 1)


loads = st.builds(
    Load,
    in_flight=st.integers(0, 2),
    cooling_until=st.sampled_from([-math.inf, NOW - 1, NOW + 4]),
    retry_at=st.sampled_from([-math.inf, NOW - 1, NOW + 4]),
    half_open=st.booleans(),
    latency=st.floats(0.0, 3.0),
)


@st.composite
def targets_of(draw: st.DrawFn) -> Target:
    ages = draw(st.lists(st.floats(0.0, 59.0), max_size=4))
    slots = tuple(Slot(NOW - age, draw(st.integers(0, 3)), draw(st.integers(0, 50))) for age in sorted(ages)[::-1])
    load = draw(loads)
    used = Load(
        in_flight=load.in_flight,
        cooling_until=max(load.cooling_until, load.retry_at),
        retry_at=load.retry_at,
        half_open=load.half_open,
        latency=load.latency,
        requests=sum(slot.requests for slot in slots),
        tokens=sum(slot.tokens for slot in slots),
        slots=slots,
    )
    limits = st.none() | st.integers(1, 5)
    cost = draw(st.none() | st.floats(0.0, 1.0))
    return Target(
        terms=Terms(
            rpm=draw(limits),
            tpm=draw(st.none() | st.integers(1, 100)),
            order=draw(st.integers(1, 3)),
            weight=draw(limits),
        ),
        load=used,
        need=Need(draw(st.integers(1, 3)), draw(st.integers(0, 60))),
        not_before=draw(st.none() | st.sampled_from([-math.inf, NOW - 1, NOW, NOW + 2])),
        tried=draw(st.booleans()),
        cost=lambda: cost,
    )


def can_be_asked(target: Target, risk: Risk) -> bool:
    return target.not_before is not None and target.not_before <= NOW and _is_available(target, risk)


def _is_available(target: Target, risk: Risk) -> bool:
    return available_at(target.terms, target.load, target.need, NOW, risk) <= NOW


@settings(deadline=None, max_examples=200)
@given(st.lists(targets_of(), max_size=5), st.sampled_from(sorted(STRATEGIES)), st.floats(0.0, ALMOST_1), st.booleans())
def test_a_decision_keeps_every_rule(targets: list[Target], strategy: str, number: float, last: bool) -> None:
    decision = decide(targets, STRATEGIES[strategy], Basis(lambda: number), NOW, last=last)
    if isinstance(decision, Ask):
        asked = targets[decision.index]
        assert asked.not_before is not None
        assert asked.not_before <= NOW
        assert asked.load.retry_at <= NOW
        _check_limits(asked)
        assert last or decision.risk is Risk.NONE
        if asked.tried:
            assert not any(can_be_asked(each, decision.risk) for each in targets if not each.tried)
        assert not any(can_be_asked(each, risk) for each in targets for risk in Risk if risk < decision.risk)
    elif isinstance(decision, WaitUntil):
        assert NOW < decision.when < math.inf
        assert not any(can_be_asked(each, Risk.COOLING if last else Risk.NONE) for each in targets)
    else:
        assert not any(can_be_asked(each, Risk.HALF_OPEN if last else Risk.NONE) for each in targets)


def _check_limits(asked: Target) -> None:
    """The last minute has room for the call; one that is above a limit by itself has the minute for itself."""
    load, need, terms = asked.load, asked.need, asked.terms
    if terms.rpm is not None:
        assert load.requests + need.requests <= terms.rpm or load.requests == 0
    if terms.tpm is not None:
        assert load.tokens + need.tokens <= terms.tpm or load.tokens == 0
