"""From scores to results: scale, fusion, threshold, order and `top_n`. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import itemgetter

from anyrerank._core.types import NO_SPANS, Document, Ranking, Spans

RRF_K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""

Scored = tuple[int, float]
"""Index of a document of the call, and its score."""


def logistic(logit: float) -> float:
    """`logit` mapped to 0..1."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    odds = math.exp(logit)
    return odds / (1.0 + odds)


def best_first(scored: Iterable[Scored]) -> list[Scored]:
    """Sorted by score; equal scores stay in input order."""
    return sorted(sorted(scored, key=_INDEX), key=_SCORE, reverse=True)


_INDEX, _SCORE = itemgetter(0), itemgetter(1)


def fused(ordered: Sequence[Scored]) -> list[Scored]:
    """The reranker's order fused with the incoming one: each score is the sum of 1 / (k + rank) over both."""
    return best_first(
        [(index, 1 / (RRF_K + rank) + 1 / (RRF_K + index + 1)) for rank, (index, _) in enumerate(ordered, start=1)]
    )


def order(scored: Sequence[Scored], *, logits: bool, threshold: float | None, fuse: str | None) -> list[Scored]:
    """The documents that reach the threshold, best first.

    Args:
        scored: In any order.
        logits: Whether to map the scores to 0..1 with the logistic function.
        threshold: Compared with the (mapped) scores, before any fusion.
        fuse: `"rrf"` to fuse with the incoming order.
    """
    if logits:
        scored = [(index, logistic(score)) for index, score in scored]
    ordered = best_first(scored)
    if fuse is not None:
        passed = {index for index, score in scored if threshold is None or score >= threshold}
        return [pair for pair in fused(ordered) if pair[0] in passed]
    return ordered if threshold is None else [pair for pair in ordered if pair[1] >= threshold]


def results(
    ordered: Sequence[Scored],
    blank: Sequence[int],
    documents: Sequence[Document],
    *,
    top_n: int | None,
    with_documents: bool,
    spans: Spans = NO_SPANS,
) -> Ranking:
    """The first `top_n` results. Blank documents come last and have no score."""
    rows: Sequence[tuple[int, float | None]] = ordered[:top_n]
    if blank:
        rows = [*rows, *((index, None) for index in blank)][:top_n]
    if not rows:
        return Ranking()
    indexes, scores = zip(*rows, strict=True)
    if spans:
        spans = {index: spans[index] for index in indexes if index in spans}
    return Ranking(indexes, scores, list(map(documents.__getitem__, indexes)) if with_documents else None, spans)
