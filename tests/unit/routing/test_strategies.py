"""Which of several available deployments a strategy asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.routing import ALMOST_1

from anyrerank._core.routing import STRATEGIES
from anyrerank._core.routing.load import Load, Terms
from anyrerank._core.routing.strategies import Basis, Target

unhurried = settings(deadline=None)


def target(load: Load | None = None, cost: float | None = None, **terms: Any) -> Target:
    return Target(terms=Terms(**terms), load=load or Load(), cost=lambda: cost)


def basis(number: float = 0.0, buffer: float = 0.0) -> Basis:
    return Basis(lambda: number, buffer)


def shares(*targets: Target, points: int = 1000) -> list[int]:
    """How often each is chosen, for evenly spaced random numbers."""
    strategy = STRATEGIES["simple-shuffle"]
    found = Counter(strategy(targets, basis((number + 0.5) / points)) for number in range(points))
    return [found[number] for number in range(len(targets))]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([{}, {}], [500, 500]),
        ([{"weight": 3}, {"weight": 1}], [750, 250]),
        ([{"weight": 3}, {}], [750, 250]),
        ([{"weight": 0}, {"weight": 2}], [0, 1000]),
        ([{"weight": 0}, {}], [0, 1000]),
        ([{}, {"weight": 0}], [1000, 0]),
        ([{"weight": 0}, {"weight": 0}], [500, 500]),
        ([{"rpm": 900}, {"rpm": 100}], [900, 100]),
        ([{"rpm": 900}, {}], [500, 500]),
        ([{"tpm": 900}, {"tpm": 100}], [900, 100]),
        ([{"rpm": 1, "tpm": 900}, {"rpm": 1, "tpm": 100}], [500, 500]),
        ([{"weight": 1, "rpm": 900}, {"weight": 1, "rpm": 100}], [500, 500]),
    ],
)
def test_shuffle_shares_follow_weights_then_rpm_then_tpm(terms: list[dict[str, Any]], expected: list[int]) -> None:
    assert shares(*(target(**each) for each in terms)) == expected


@unhurried
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any))
def test_shuffle_shares_are_exactly_the_weights(weights: list[int]) -> None:
    assert shares(*(target(weight=weight) for weight in weights), points=sum(weights)) == weights


@unhurried
@given(
    st.lists(st.floats(0.0, 1e6), min_size=1, max_size=8).filter(lambda weights: max(weights) > 1e-3),
    st.floats(0.0, ALMOST_1) | st.sampled_from([0.0, ALMOST_1]),
)
def test_shuffle_never_chooses_a_weight_of_0(weights: list[float], number: float) -> None:
    chosen = STRATEGIES["simple-shuffle"]([target(weight=weight) for weight in weights], basis(number))
    assert weights[chosen] > 0


@unhurried
@given(
    st.sampled_from(sorted(STRATEGIES)),
    st.lists(st.sampled_from([{}, {"weight": 0}, {"weight": 2}, {"rpm": 5}, {"tpm": 9, "rpm": 1}]), min_size=1),
    st.floats(0.0, ALMOST_1) | st.just(ALMOST_1),
)
def test_every_strategy_chooses_one_of_the_targets(strategy: str, terms: list[dict[str, Any]], number: float) -> None:
    targets = [target(**each) for each in terms]
    assert 0 <= STRATEGIES[strategy](targets, basis(number)) < len(targets)


def chosen(name: str, *targets: Target) -> Callable[..., int]:
    return lambda number=0.0, buffer=0.0: STRATEGIES[name](targets, basis(number, buffer))


def test_least_busy_asks_the_fewest_calls_in_flight() -> None:
    choose = chosen("least-busy", *(target(Load(in_flight=busy)) for busy in (2, 1, 1)))
    assert [choose(number) for number in (0.0, 0.49, ALMOST_1)] == [1, 1, 2]


def test_latency_based_asks_the_fastest_or_an_unknown_one() -> None:
    fast, slow, unknown = target(Load(latency=1.0)), target(Load(latency=1.2)), target(Load())
    assert chosen("latency-based-routing", slow, fast)() == 1
    assert chosen("latency-based-routing", slow, fast, unknown)() == 2


def test_latency_based_treats_latencies_within_the_buffer_as_equal() -> None:
    choose = chosen("latency-based-routing", target(Load(latency=1.2)), target(Load(latency=1.0)))
    assert [choose(number, buffer=0.3) for number in (0.0, 0.9)] == [0, 1]


@pytest.mark.parametrize("name", ["usage-based-routing", "usage-based-routing-v2"])
def test_usage_based_asks_the_least_used(name: str) -> None:
    assert chosen(name, target(Load(requests=1, tokens=50)), target())() == 1
    assert chosen(name, target(Load(requests=2, tokens=50)), target(Load(requests=1, tokens=50)))() == 1
    small, large = target(Load(requests=1, tokens=300), rpm=10, tpm=1000), target(Load(requests=20), rpm=100)
    assert chosen(name, small, large)() == 1
    assert chosen(name, target(Load(requests=1), rpm=10, tpm=1000), large)() == 0


def test_cost_based_asks_the_cheapest_and_an_unknown_price_last() -> None:
    name = "cost-based-routing"
    assert chosen(name, target(), target(cost=0.5), target(cost=0.002))() == 2
    assert chosen(name, target(), target(cost=99.0))() == 1
    assert chosen(name, target(cost=0.1), target(cost=0.0))() == 1
    assert [chosen(name, target(), target())(number) for number in (0.0, 0.9)] == [0, 1]
