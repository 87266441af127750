"""Intervals cover the truth as often as they claim, and tests rarely find a difference where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyrerank.evaluation.significance import differences, interval


def sample(rng: np.random.Generator, count: int, mean: float = 0.0) -> list[float]:
    """Per-query differences as between two rerankers: many are 0, some are large."""
    moved = rng.random(count) < 0.6
    return list(np.where(moved, rng.normal(mean / 0.6, 0.25, count), 0.0))


@pytest.mark.slow
def test_interval_covers_the_truth_95_times_of_100() -> None:
    """The bootstrap over 60 queries is known to fall slightly short."""
    rng, covered, times, truth = np.random.default_rng(3), 0, 400, 0.05
    for _ in range(times):
        low, high = interval(sample(rng, 60, truth))
        covered += low <= truth <= high
    assert 0.91 <= covered / times <= 0.985


@pytest.mark.slow
def test_differences_of_several_equal_rankings_are_rarely_significant() -> None:
    """Five rerankers equal to the baseline: in about 5 of 100 comparisons one appears better or worse."""
    rng, wrong, times = np.random.default_rng(5), 0, 200
    for _ in range(times):
        scores = {str(number): sample(rng, 60) for number in range(5)}
        wrong += any(each.significant for each in differences(scores, [0.0] * 60).values())
    assert wrong / times <= 0.11


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_differences_over_few_queries_are_rarely_significant(count: int) -> None:
    rng, wrong, times = np.random.default_rng(count), 0, 200
    for _ in range(times):
        wrong += differences({"a": list(rng.normal(0, 0.3, count))}, [0.0] * count)["a"].significant
    assert wrong / times <= 0.08
    if count < 6:
        assert wrong == 0


@pytest.mark.slow
def test_differences_of_several_rankings_have_simultaneous_intervals() -> None:
    """In 95 of 100 comparisons all four intervals cover the truth."""
    rng, covered, times, truth = np.random.default_rng(9), 0, 150, 0.1
    for _ in range(times):
        scores = {str(number): list(rng.normal(truth, 0.25, 60)) for number in range(4)}
        covered += all(each.low <= truth <= each.high for each in differences(scores, [0.0] * 60).values())
    assert covered / times >= 0.9


def test_differences_with_a_large_effect_are_significant() -> None:
    rng = np.random.default_rng(1)
    better, same = sample(rng, 60, 0.3), sample(rng, 60)
    gaps = differences({"better": better, "same": same}, [0.0] * 60)
    assert gaps["better"].significant
    assert gaps["better"].low > 0.1
    assert not gaps["same"].significant
    assert gaps["better"].p_value < 0.01 < gaps["same"].p_value


def test_differences_of_more_rankings_have_wider_intervals() -> None:
    rng = np.random.default_rng(2)
    one = {"a": sample(rng, 40, 0.2)}
    many = {**one, **{str(number): sample(rng, 40) for number in range(9)}}
    alone, with_others = differences(one, [0.0] * 40)["a"], differences(many, [0.0] * 40)["a"]
    assert alone.mean == with_others.mean
    assert with_others.high - with_others.low > alone.high - alone.low


def test_differences_without_scores_are_empty() -> None:
    assert differences({"a": []}, []) == {}
    assert differences({}, [0.5]) == {}
    assert interval([]) == (0.0, 0.0)


def test_differences_of_identical_scores_are_zero() -> None:
    same = differences({"a": [0.5, 0.5]}, [0.5, 0.5])["a"]
    assert (same.mean, same.low, same.high, same.significant) == (0.0, 0.0, 0.0, False)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_differences_are_reproducible_and_antisymmetric(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = map(list, zip(*pairs, strict=True))
    one = differences({"x": ours}, theirs)["x"]
    assert differences({"x": ours}, theirs)["x"] == one
    assert one.low <= one.mean + 1e-9
    assert one.mean <= one.high + 1e-9
    other = differences({"x": theirs}, ours)["x"]
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low), abs=1e-9)
