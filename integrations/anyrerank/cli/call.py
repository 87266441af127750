"""One small call, to check whether a model answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyrerank._core.client import BaseReranker

_QUERY, _DOCUMENTS = "Which planet is red?", ["Mars is red.", "Venus is bright."]


def call_of(reranker: BaseReranker) -> str:
    """Latency, cost and scores of a call, for the user.

    Raises:
        RerankError: It failed.
    """
    response = reranker.rerank(_QUERY, _DOCUMENTS, on_error="raise")
    cost = "cost unknown" if response.cost is None else f"${response.cost:.6f}"
    scores = ", ".join(f"{each.relevance_score:.3f}" for each in response.results if each.relevance_score is not None)
    return f"answered in {1000 * (response.latency or 0.0):.0f} ms, {cost}, scores {scores}"
