"""Infinity: base URL `/infinity`.

Source: https://github.com/michaelfeil/infinity
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from anyrerank._core.types import Document
from anyrerank.gateway.dialects._base import CohereStyle, Dialect, Fields, ParsedRequest, RankedAnswer, text_in
from anyrerank.gateway.errors import GatewayError


class Infinity(CohereStyle):
    """`raw_scores` asks for the scores as the model gives them. A `document` in the answer is a string."""

    name = "infinity"
    paths = ("/infinity/rerank",)
    statuses: ClassVar = {"invalid_request_error": 422}

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether a body has `documents` and `raw_scores`."""
        return "raw_scores" in body and "documents" in body

    def read(self, fields: Fields, path: Mapping[str, str]) -> ParsedRequest:
        """The request in a body."""
        raw = fields.flag("raw_scores")
        asked = super().read(fields, path)
        options = {**asked.options, "raw_scores": True} if raw else asked.options
        return replace(asked, options=options, unit_scores=not raw)

    def answer(self, asked: ParsedRequest, ranked: RankedAnswer) -> Any:
        """Infinity's answer; its client refuses another `object`."""
        return {**super().answer(asked, ranked), "object": "rerank", "created": int(time.time())}

    def document(self, document: Document) -> Any:
        """A document in an answer."""
        return text_in(document)

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """FastAPI's error: a list where the body is wrong, else a string."""
        if status != 422:
            return Dialect.error(self, error, status, request_id)
        where = ["body"] if error.param is None else ["body", error.param]
        return {"detail": [{"loc": where, "msg": error.message, "type": "value_error"}], "message": error.message}
