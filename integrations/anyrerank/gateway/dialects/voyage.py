"""Voyage AI: base URL `/voyage/v1`.

Source: https://docs.voyageai.com/reference/reranker-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyrerank.gateway.dialects._base import CohereStyle, ParsedRequest, RankedAnswer
from anyrerank.gateway.errors import GatewayError


class Voyage(CohereStyle):
    """`top_k` in, `data` out. Some clients demand each `document` without asking for it, and as a string."""

    name = "voyage"
    paths = ("/voyage/v1/rerank",)
    top_n_name = "top_k"

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether a body has `documents` and `top_k`."""
        return "top_k" in body and "top_n" not in body and "documents" in body

    def answer(self, asked: ParsedRequest, ranked: RankedAnswer) -> Any:
        """Voyage's answer."""
        return {
            "object": "list",
            "data": [
                {"index": index, "relevance_score": score, "document": text} for index, score, text in ranked.texts()
            ],
            "model": ranked.model,
            "usage": {"total_tokens": ranked.tokens},
        }

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """Voyage's error."""
        return {"detail": error.message}
