"""How good a ranking is, by ir-measures (`pip install 'anyrerank[evaluation]'`), whose numbers are trec_eval's.

Gain is linear, as in trec_eval; means are over the queries that have an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyrerank._core.runtime import needed
from anyrerank.evaluation.dataset import Labels

Ranking = Sequence[str]
"""Ids of documents, best first."""
Scores = dict[str, dict[str, float]]
"""For each measure the number of each query."""


def measures(k: int) -> tuple[str, ...]:
    """The names of what is measured, in the words of ir-measures."""
    return (f"nDCG@{k}", f"RR@{k}", f"R@{k}", "Success@1")


def measured(rankings: Mapping[str, Ranking], labels: Labels, k: int) -> Scores:
    """Each measure for each query that has an answer.

    Args:
        rankings: By query. Where one is empty, every measure is 0.
        labels: Grades; only queries with a grade above 0 are measured.
        k: How far down is looked.
    """
    library = needed("ir_measures", "evaluation")
    names = measures(k)
    wanted = [library.nDCG @ k, library.RR @ k, library.R @ k, library.Success @ 1]  # its parser fails on Python 3.14
    answered = {query: dict(grades) for query, grades in labels.items() if is_answered(grades)}
    run = {query: _falling(rankings.get(query, ())) for query in answered}
    found: Scores = {name: dict.fromkeys(answered, 0.0) for name in names}
    for each in library.iter_calc(wanted, answered, run) if answered else ():
        found[str(each.measure)][each.query_id] = float(each.value)
    return found


def judged(rankings: Mapping[str, Ranking], labels: Labels, k: int) -> float:
    """The part of the first `k` documents that is labelled at all, over the queries with labels."""
    parts = [
        sum(document in labels[query] for document in ranking[:k]) / len(ranking[:k])
        for query, ranking in rankings.items()
        if labels.get(query) and ranking
    ]
    return sum(parts) / len(parts) if parts else 0.0


def is_answered(grades: Mapping[str, int]) -> bool:
    """Whether some document answers the query."""
    return any(grade > 0 for grade in grades.values())


def _falling(ranking: Ranking) -> dict[str, float]:
    """Scores that keep the order: trec_eval sorts by score, and by id among equal ones."""
    return {document: float(len(ranking) - place) for place, document in enumerate(ranking)}
