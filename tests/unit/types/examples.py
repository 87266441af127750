"""A response, and its results."""

from typing import Any

from anyrerank._core.types import (
    Attempt,
    BilledUnits,
    Document,
    Meta,
    Ranking,
    RerankResponse,
    RerankResult,
    Results,
    Tokens,
)

DOCUMENTS: list[Document] = ["alpha", {"text": "beta", "page": 3}, ""]
ROWS = [
    RerankResult(index=2, relevance_score=0.75, document={"text": "alpha"}),
    RerankResult(index=0, relevance_score=0.25, document={"text": "beta", "page": 3}),
    RerankResult(index=1, relevance_score=None, document={"text": ""}),
]


def some_ranking() -> Ranking:
    return Ranking([2, 0, 1], [0.75, 0.25, None], DOCUMENTS)


def some_results() -> Results:
    return Results(some_ranking())


def response(**given: Any) -> RerankResponse:
    return RerankResponse(
        **{
            "id": "rerank-1",
            "results": some_ranking(),
            "meta": Meta(
                api_version={"version": "2"},
                billed_units=BilledUnits(search_units=1),
                tokens=Tokens(input_tokens=12, output_tokens=0),
                warnings=("old model",),
            ),
            "model": "rerank-v3.5",
            "provider": "cohere",
            "cost": 0.002,
            "latency": 0.125,
            "attempts": (Attempt(deployment="cohere/rerank-v3.5", status=200, seconds=0.1),),
            "request_id": "req-1",
            **given,
        }
    )
