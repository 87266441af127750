"""Ollama's `/api/rerank`, as Dify's plugin for Ollama calls it."""

from __future__ import annotations

from typing import Any

from anyrerank._core.types import Document
from anyrerank.gateway.dialects._base import CohereStyle, text_in
from anyrerank.gateway.errors import GatewayError


class Ollama(CohereStyle):
    """Like Jina's API; a `document` in the answer is a string."""

    name = "ollama"
    paths = ("/api/rerank",)

    def document(self, document: Document) -> Any:
        """A document in an answer."""
        return text_in(document)

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """Ollama's error."""
        return {"error": error.message}
