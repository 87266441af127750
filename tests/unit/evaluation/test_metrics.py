"""What is measured is what trec_eval measures, to the last digit; here against its definition, written anew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from anyrerank.evaluation.metrics import judged, measured, measures

DOCUMENTS = [f"d{number}" for number in range(12)]
rankings = st.lists(st.permutations(DOCUMENTS), min_size=1, max_size=4)
graded = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1)


def defined(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> list[float]:
    """nDCG with linear gain, reciprocal rank, recall, success at 1."""
    gains = [grades.get(document, 0) for document in ranking]
    ideal = sorted(grades.values(), reverse=True)
    dcg, best = (sum(gain / math.log2(place + 2) for place, gain in enumerate(each[:k])) for each in (gains, ideal))
    first = next((place for place, gain in enumerate(gains[:k]) if gain > 0), None)
    relevant = sum(grade > 0 for grade in grades.values())
    return [
        dcg / best,
        0.0 if first is None else 1 / (first + 1),
        sum(gain > 0 for gain in gains[:k]) / relevant,
        float(gains[0] > 0),
    ]


@given(rankings, st.lists(graded, min_size=4, max_size=4), st.integers(1, 12))
def test_measures_are_as_they_are_defined(ranked: list[list[str]], grades: list[dict[str, int]], k: int) -> None:
    found = {f"q{number}": ranking for number, ranking in enumerate(ranked)}
    labels = dict(zip(found, grades, strict=False))
    scores = measured(found, labels, k)
    answered = {query for query, each in labels.items() if any(each.values())}
    assert list(scores) == list(measures(k))
    for query in answered:
        assert [scores[name][query] for name in measures(k)] == pytest.approx(defined(found[query], labels[query], k))
    assert all(each.keys() == answered for each in scores.values())


@given(rankings, st.lists(graded, min_size=4, max_size=4))
def test_ndcg_is_trec_evals_to_the_last_digit(ranked: list[list[str]], grades: list[dict[str, int]]) -> None:
    found = {f"q{number}": ranking for number, ranking in enumerate(ranked)}
    labels = {query: each for query, each in zip(found, grades, strict=False) if any(each.values())}
    run = {query: {each: float(-place) for place, each in enumerate(found[query])} for query in labels}
    theirs = pytrec_eval.RelevanceEvaluator(labels, {"ndcg_cut.10", "recall.10"}).evaluate(run) if labels else {}
    ours = measured(found, labels, 10)
    for query, each in theirs.items():
        assert ours["nDCG@10"][query] == each["ndcg_cut_10"]
        assert ours["R@10"][query] == each["recall_10"]


def test_the_gain_is_linear() -> None:
    labels = {"q": {"a": 3, "b": 1, "c": 2}}
    assert measured({"q": ["b", "a", "c"]}, labels, 10)["nDCG@10"]["q"] == pytest.approx(
        (1 + 3 / math.log2(3) + 2 / 2) / (3 + 2 / math.log2(3) + 1 / 2)
    )


def test_a_ranking_that_is_missing_is_worth_nothing() -> None:
    assert measured({"q": []}, {"q": {"a": 1}}, 5) == {name: {"q": 0.0} for name in measures(5)}
    assert measured({}, {"q": {"a": 1}}, 5)["nDCG@5"] == {"q": 0.0}


def test_queries_without_an_answer_are_not_measured() -> None:
    assert measured({"q": ["a"]}, {"q": {"a": 0}}, 5)["RR@5"] == {}
    assert measured({"q": ["a"]}, {}, 5)["RR@5"] == {}


def test_what_is_judged() -> None:
    labels = {"q": {"a": 0, "b": 1}, "r": {"c": 1}, "s": {}}
    assert judged({"q": ["a", "x", "b"], "r": ["c"], "s": ["y"]}, labels, 2) == pytest.approx((0.5 + 1) / 2)
    assert judged({}, labels, 2) == 0.0
