"""Hugging Face text-embeddings-inference. It has no model in the body, and answers with a bare list.

Source: https://huggingface.github.io/text-embeddings-inference
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from anyrerank.gateway.dialects._base import Asked, Dialect, Fields, Ranked
from anyrerank.gateway.errors import GatewayError

_ERROR_TYPES = {413: "validation", 422: "validation", 429: "overloaded", 503: "unhealthy"}


class TEI(Dialect):
    """`texts` in, a list of `index` and `score` out."""

    name = "tei"
    paths = ("/tei/{model}/rerank", "/tei/rerank")
    statuses: ClassVar = {"invalid_request_error": 422}

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether a body has `texts`."""
        return "texts" in body

    def read(self, fields: Fields, path: Mapping[str, str]) -> Asked:
        """The request in a body."""
        raw = fields.flag("raw_scores")
        truncate = fields.flag("truncate")
        fields.take("truncation_direction")  # the gateway cuts nothing itself
        return Asked(
            query=fields.query("query"),
            documents=fields.documents("texts"),
            model=fields.text("model") or path.get("model"),
            with_documents=bool(fields.flag("return_text")),
            unit_scores=not raw,
            options={} if truncate is None else {"truncate": truncate},
            ignored=fields.unread(),
        )

    def answer(self, asked: Asked, ranked: Ranked) -> Any:
        """Nothing but index, score and text: some clients refuse further fields."""
        if asked.with_documents:
            return [{"index": index, "score": score, "text": text} for index, score, text in ranked.texts()]
        return [{"index": index, "score": score} for index, score in ranked.rows]

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """TEI's error."""
        return {"error": error.message, "error_type": _ERROR_TYPES.get(status, "backend")}
