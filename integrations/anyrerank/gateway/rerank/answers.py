"""Converting a response of the router to an answer, in which every result has a score."""

from __future__ import annotations

from collections.abc import Sequence

from anyrerank._core.types import Document, Meta, RerankResponse, Scale
from anyrerank.gateway.dialects import RankedAnswer


def ranked(response: RerankResponse, documents: Sequence[Document], *, model: str, request_id: str) -> RankedAnswer:
    """The answer to a request.

    Args:
        response: The router's.
        documents: Those of the request.
        model: The name that the client asked for, or the default.
        request_id: The id of the request.
    """
    billed = response.meta.billed_units
    return RankedAnswer(
        id=response.id,
        model=model,
        rows=numbered(response.ranking.indexes, response.ranking.scores, response.score_scale),
        documents=documents,
        tokens=_tokens(response.meta),
        search_units=None if billed is None else billed.search_units,
        request_id=request_id,
    )


def numbered(indexes: Sequence[int], scores: Sequence[float | None], scale: Scale) -> list[tuple[int, float]]:
    """Index and score of each result, with a number for blank documents, which have no score and come last.

    Clients fail on null. The number is 0 on a scale from 0 to 1, less than every other score where they are logits,
    else the lowest of them.
    """
    known = [score for score in scores if score is not None]
    lowest = min(known, default=0.0)
    blank = {"unit": min(0.0, lowest), "logit": lowest - 1.0 if known else 0.0}.get(scale, lowest)
    return [(index, blank if score is None else score) for index, score in zip(indexes, scores, strict=True)]


def _tokens(meta: Meta) -> int:
    """Tokens that the provider read, as far as it says."""
    billed, tokens = meta.billed_units, meta.tokens
    return int((tokens and tokens.input_tokens) or (billed and billed.total_tokens) or 0)
