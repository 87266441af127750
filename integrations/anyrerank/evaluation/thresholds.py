"""What a score threshold would keep and lose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from anyrerank.evaluation.dataset import Labels
from anyrerank.evaluation.outcomes import Outcome, Outcomes

_SHARES = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.25)
"""Shares of the relevant documents that are to be kept, one row each."""
_STEPS = 10_000
"""Thresholds are rounded down to four digits."""

Scores = Sequence[tuple[float, bool]]
"""Score of each candidate of a query, and whether it is relevant."""


def threshold_rows(outcomes: Outcomes, labels: Labels) -> list[dict[str, float]]:
    """A row for each share of relevant documents that a threshold keeps, lowest threshold first.

    Args:
        outcomes: Those of one reranker; calls that failed are left out.
        labels: Relevance grades by query.

    Returns:
        For each threshold the number of results that a query keeps on average, the share of relevant documents that are
        kept, the number of queries that lose all relevant ones, and of those that have no result.
    """
    found = [_scores(outcome, labels.get(query, {})) for query, outcome in outcomes.items()]
    queries = [each for each in found if each]
    relevant = sorted((score for each in queries for score, is_relevant in each if is_relevant), reverse=True)
    if not relevant:
        return []
    thresholds = {_rounded_down(relevant[math.ceil(share * len(relevant)) - 1]) for share in _SHARES}
    return [_row(threshold, queries, len(relevant)) for threshold in sorted(thresholds)]


def _scores(outcome: Outcome, grades: Mapping[str, int]) -> Scores:
    """The scored candidates; none for a call that failed."""
    pairs = zip(outcome.ranking, outcome.scores, strict=False)
    return [(score, grades.get(document, 0) > 0) for document, score in pairs if score is not None]


def _row(threshold: float, queries: Sequence[Scores], relevant: int) -> dict[str, float]:
    kept = [[pair for pair in each if pair[0] >= threshold] for each in queries]
    answers = [sum(is_relevant for _, is_relevant in each) for each in kept]
    had = [any(is_relevant for _, is_relevant in each) for each in queries]
    return {
        "threshold": threshold,
        "results": round(sum(map(len, kept)) / len(queries), 2),
        "relevant_kept": round(sum(answers) / relevant, 3),
        "answers_lost": sum(before and not after for before, after in zip(had, answers, strict=True)),
        "empty": sum(not each for each in kept),
    }


def _rounded_down(score: float) -> float:
    return math.floor(score * _STEPS) / _STEPS
