"""Whether intervals hold what they should as often as they say, and comparisons find nothing that is not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyrerank.evaluation.significance import differences, interval


def drawn(random: np.random.Generator, count: int, mean: float = 0.0) -> list[float]:
    """Per-query differences as rerankers make them: many of none, some large ones."""
    moved = random.random(count) < 0.6
    return list(np.where(moved, random.normal(mean / 0.6, 0.25, count), 0.0))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """95 of 100 times; the bootstrap over 60 queries is known to fall short by a little."""
    random, held, times, truth = np.random.default_rng(3), 0, 400, 0.05
    for _ in range(times):
        low, high = interval(drawn(random, 60, truth))
        held += low <= truth <= high
    assert 0.91 <= held / times <= 0.985


def test_several_comparisons_seldom_find_what_is_not_there() -> None:
    """Five rerankers no better than the baseline: in some 5 of 100 comparisons one is called better or worse."""
    random, wrong, times = np.random.default_rng(5), 0, 200
    for _ in range(times):
        against = {str(number): drawn(random, 60) for number in range(5)}
        wrong += any(each.clear for each in differences(against, [0.0] * 60).values())
    assert wrong / times <= 0.11


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_handful_of_queries_seldom_shows_what_is_not_there(count: int) -> None:
    random, wrong, times = np.random.default_rng(count), 0, 200
    for _ in range(times):
        wrong += differences({"a": list(random.normal(0, 0.3, count))}, [0.0] * count)["a"].clear
    assert wrong / times <= 0.08
    if count < 6:
        assert wrong == 0


def test_the_intervals_of_several_hold_the_truth_together() -> None:
    """In 95 of 100 comparisons of four, all four."""
    random, held, times, truth = np.random.default_rng(9), 0, 150, 0.1
    for _ in range(times):
        against = {str(number): list(random.normal(truth, 0.25, 60)) for number in range(4)}
        held += all(each.low <= truth <= each.high for each in differences(against, [0.0] * 60).values())
    assert held / times >= 0.9


def test_a_large_difference_is_found() -> None:
    random = np.random.default_rng(1)
    better, same = drawn(random, 60, 0.3), drawn(random, 60)
    found = differences({"better": better, "same": same}, [0.0] * 60)
    assert found["better"].clear
    assert found["better"].low > 0.1
    assert not found["same"].clear
    assert found["better"].p < 0.01 < found["same"].p


def test_more_comparisons_make_an_interval_wider() -> None:
    random = np.random.default_rng(2)
    one = {"a": drawn(random, 40, 0.2)}
    many = {**one, **{str(number): drawn(random, 40) for number in range(9)}}
    alone, beside = differences(one, [0.0] * 40)["a"], differences(many, [0.0] * 40)["a"]
    assert alone.mean == beside.mean
    assert beside.high - beside.low > alone.high - alone.low


def test_nothing_to_compare() -> None:
    assert differences({"a": []}, []) == {}
    assert differences({}, [0.5]) == {}
    assert interval([]) == (0.0, 0.0)
    same = differences({"a": [0.5, 0.5]}, [0.5, 0.5])["a"]
    assert (same.mean, same.low, same.high, same.clear) == (0.0, 0.0, 0.0, False)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_same_data_give_the_same_intervals_and_the_opposite_the_opposite(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = map(list, zip(*pairs, strict=True))
    one = differences({"x": ours}, theirs)["x"]
    assert differences({"x": ours}, theirs)["x"] == one
    assert one.low <= one.mean + 1e-9
    assert one.mean <= one.high + 1e-9
    other = differences({"x": theirs}, ours)["x"]
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low), abs=1e-9)
