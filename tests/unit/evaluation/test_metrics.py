"""The metrics equal those of trec_eval to the last digit, and their definitions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from anyrerank.evaluation.metrics import judged_share, measure_names, score

DOCUMENTS = [f"d{number}" for number in range(12)]
rankings = st.lists(st.permutations(DOCUMENTS), min_size=1, max_size=4)
graded = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1)


def by_definition(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> list[float]:
    """nDCG with linear gain, reciprocal rank, recall, success at 1."""
    gains = [grades.get(document, 0) for document in ranking]
    ideal = sorted(grades.values(), reverse=True)
    dcg, best = (sum(gain / math.log2(index + 2) for index, gain in enumerate(each[:k])) for each in (gains, ideal))
    first = next((index for index, gain in enumerate(gains[:k]) if gain > 0), None)
    relevant = sum(grade > 0 for grade in grades.values())
    return [
        dcg / best,
        0.0 if first is None else 1 / (first + 1),
        sum(gain > 0 for gain in gains[:k]) / relevant,
        float(gains[0] > 0),
    ]


@given(rankings, st.lists(graded, min_size=4, max_size=4), st.integers(1, 12))
def test_score_matches_the_definitions(ranked: list[list[str]], grades: list[dict[str, int]], k: int) -> None:
    found = {f"q{number}": ranking for number, ranking in enumerate(ranked)}
    labels = dict(zip(found, grades, strict=False))
    scores = score(found, labels, k)
    evaluated = {query for query, each in labels.items() if any(each.values())}
    assert list(scores) == list(measure_names(k))
    for query in evaluated:
        assert [scores[name][query] for name in measure_names(k)] == pytest.approx(
            by_definition(found[query], labels[query], k)
        )
    assert all(each.keys() == evaluated for each in scores.values())


@given(rankings, st.lists(graded, min_size=4, max_size=4))
def test_score_equals_trec_eval_to_the_last_digit(ranked: list[list[str]], grades: list[dict[str, int]]) -> None:
    found = {f"q{number}": ranking for number, ranking in enumerate(ranked)}
    labels = {query: each for query, each in zip(found, grades, strict=False) if any(each.values())}
    run = {query: {each: float(-index) for index, each in enumerate(found[query])} for query in labels}
    theirs = pytrec_eval.RelevanceEvaluator(labels, {"ndcg_cut.10", "recall.10"}).evaluate(run) if labels else {}
    ours = score(found, labels, 10)
    for query, each in theirs.items():
        assert ours["nDCG@10"][query] == each["ndcg_cut_10"]
        assert ours["R@10"][query] == each["recall_10"]


def test_score_uses_linear_gain() -> None:
    labels = {"q": {"a": 3, "b": 1, "c": 2}}
    assert score({"q": ["b", "a", "c"]}, labels, 10)["nDCG@10"]["q"] == pytest.approx(
        (1 + 3 / math.log2(3) + 2 / 2) / (3 + 2 / math.log2(3) + 1 / 2)
    )


def test_score_of_a_missing_ranking_is_zero() -> None:
    assert score({"q": []}, {"q": {"a": 1}}, 5) == {name: {"q": 0.0} for name in measure_names(5)}
    assert score({}, {"q": {"a": 1}}, 5)["nDCG@5"] == {"q": 0.0}


def test_score_without_a_relevant_document_skips_the_query() -> None:
    assert score({"q": ["a"]}, {"q": {"a": 0}}, 5)["RR@5"] == {}
    assert score({"q": ["a"]}, {}, 5)["RR@5"] == {}


def test_judged_share_averages_over_labelled_queries() -> None:
    labels = {"q": {"a": 0, "b": 1}, "r": {"c": 1}, "s": {}}
    assert judged_share({"q": ["a", "x", "b"], "r": ["c"], "s": ["y"]}, labels, 2) == pytest.approx((0.5 + 1) / 2)
    assert judged_share({}, labels, 2) == 0.0
