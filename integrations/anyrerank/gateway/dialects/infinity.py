"""Infinity: base URL `/infinity`.

Source: https://github.com/michaelfeil/infinity
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from anyrerank._core.types import Document
from anyrerank.gateway.dialects._base import Asked, CohereStyle, Dialect, Fields, text_in


class Infinity(CohereStyle):
    """`raw_scores` asks for the scores as the model gives them. A `document` in the answer is a string."""

    name = "infinity"
    paths = ("/infinity/rerank",)
    statuses: ClassVar = {"invalid_request_error": 422}
    error = Dialect.error

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether a body has `documents` and `raw_scores`."""
        return "raw_scores" in body and "documents" in body

    def read(self, fields: Fields, path: Mapping[str, str]) -> Asked:
        """The request in a body."""
        raw = fields.flag("raw_scores")
        asked = super().read(fields, path)
        options = {**asked.options, "raw_scores": True} if raw else asked.options
        return replace(asked, options=options, unit_scores=not raw)

    def document(self, document: Document) -> Any:
        """A document in an answer."""
        return text_in(document)
