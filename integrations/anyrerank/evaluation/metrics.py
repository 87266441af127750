"""Ranking metrics, computed by ir-measures; the values are those of trec_eval.

Gain is linear, as in trec_eval. Only queries with a relevant document are scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyrerank._core.runtime import import_optional
from anyrerank.evaluation.dataset import Labels, has_relevant

Ranking = Sequence[str]
"""Document ids, best first."""
Scores = dict[str, dict[str, float]]
"""Values by measure and query."""


def measure_names(k: int) -> tuple[str, ...]:
    """The measures of a report, by their names in ir-measures."""
    return (f"nDCG@{k}", f"RR@{k}", f"R@{k}", "Success@1")


def score(rankings: Mapping[str, Ranking], labels: Labels, k: int) -> Scores:
    """Compute every measure for every query with a relevant document.

    Args:
        rankings: Document ids by query; an empty or missing ranking scores 0.
        labels: Relevance grades by query.
        k: Number of top results that count.
    """
    ir_measures = import_optional("ir_measures", "evaluation")
    # Measures are built here because the parser of ir-measures fails on Python 3.14.
    measures = [ir_measures.nDCG @ k, ir_measures.RR @ k, ir_measures.R @ k, ir_measures.Success @ 1]
    qrels = {query: dict(grades) for query, grades in labels.items() if has_relevant(grades)}
    run = {query: _descending_scores(rankings.get(query, ())) for query in qrels}
    scores: Scores = {name: dict.fromkeys(qrels, 0.0) for name in measure_names(k)}
    for each in ir_measures.iter_calc(measures, qrels, run) if qrels else ():
        scores[str(each.measure)][each.query_id] = float(each.value)
    return scores


def judged_share(rankings: Mapping[str, Ranking], labels: Labels, k: int) -> float:
    """The mean share of the top `k` documents that have a label, over the queries with labels."""
    shares = [
        sum(document in labels[query] for document in ranking[:k]) / len(ranking[:k])
        for query, ranking in rankings.items()
        if labels.get(query) and ranking
    ]
    return sum(shares) / len(shares) if shares else 0.0


def _descending_scores(ranking: Ranking) -> dict[str, float]:
    """Distinct scores in the order of the ranking: trec_eval sorts by score, and by id where scores are equal."""
    return {document: float(len(ranking) - index) for index, document in enumerate(ranking)}
