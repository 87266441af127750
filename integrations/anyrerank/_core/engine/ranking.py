"""From scores to results: scale, fusion, threshold, order, cut. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import itemgetter

from anyrerank._core.types import Document, Results, Scale
from anyrerank.errors import BadRequestError

RRF_K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""

Scored = tuple[int, float]
"""A place in the caller's documents and its score."""


def unit(score: float, scale: Scale) -> float:
    """`score` mapped to 0..1 by what is known of its scale, whatever the other documents score."""
    if scale == "unit":
        return score
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    odds = math.exp(score)
    return odds / (1.0 + odds)


def best_first(scored: Iterable[Scored]) -> list[Scored]:
    """Sorted by score, equal scores in input order."""
    return sorted(sorted(scored, key=_PLACE), key=_SCORE, reverse=True)


_PLACE, _SCORE = itemgetter(0), itemgetter(1)


def fused(ordered: Sequence[Scored]) -> list[Scored]:
    """The reranker's order fused with the incoming one: the score is the sum of 1/(k + rank) in both."""
    return best_first(
        [(place, 1 / (RRF_K + rank) + 1 / (RRF_K + place + 1)) for rank, (place, _) in enumerate(ordered, start=1)]
    )


def order(
    scored: Sequence[Scored],
    *,
    scale: Scale,
    score_mode: str,
    threshold: float | None,
    fuse: str | None,
) -> list[Scored]:
    """Every scored document that passes the threshold, best first.

    The threshold is compared with the reranker's score in the scale of `score_mode`, before any fusion.
    """
    if score_mode == "unit" and scale != "unit":
        scored = [(place, unit(score, scale)) for place, score in scored]
    ordered = best_first(scored)
    if fuse is not None:
        kept = {place for place, score in scored if threshold is None or score >= threshold}
        return [pair for pair in fused(ordered) if pair[0] in kept]
    return ordered if threshold is None else [pair for pair in ordered if pair[1] >= threshold]


def results(
    ordered: Sequence[Scored],
    blank: Sequence[int],
    documents: Sequence[Document],
    *,
    top_n: int | None,
    with_documents: bool,
) -> Results:
    """The first `top_n` results; blank documents come last and have no score."""
    rows: list[tuple[int, float | None]] = [*ordered[:top_n], *((place, None) for place in blank)]
    if not rows:
        return Results()
    indexes, scores = zip(*rows[:top_n], strict=True)
    return Results(indexes, scores, [documents[index] for index in indexes] if with_documents else None)


def check_score_mode(score_mode: str, scale: Scale, deployment: str) -> None:
    """Refuse a mode that does not exist, or that this provider's scores cannot be put in."""
    if score_mode not in ("raw", "unit"):
        raise BadRequestError("score_mode is 'raw' or 'unit'")
    if score_mode == "unit" and scale == "unknown":
        raise BadRequestError(f"score_mode='unit' is not possible: what the scores of {deployment} mean is not known")
