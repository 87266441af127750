"""vLLM's score API: base URL of the gateway, with or without `/v1`.

Source: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html ("Score API")
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from anyrerank._core.types import Document
from anyrerank.gateway.dialects._base import Dialect, Fields, ParsedRequest, RankedAnswer
from anyrerank.gateway.errors import GatewayError, bad_request, error_fields

_QUERIES, _DOCUMENTS = ("text_1", "queries", "data_1"), ("text_2", "documents", "items", "data_2")


class VllmScore(Dialect):
    """One text and a list of others in; a score for each of these out, in the order of the request."""

    name = "vllm_score"
    paths = ("/v1/score", "/score")

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether a body has `text_1` or `text_2`."""
        return "text_1" in body or "text_2" in body

    def read(self, fields: Fields, path: Mapping[str, str]) -> ParsedRequest:
        """The request in a body."""
        return ParsedRequest(
            query=_query(fields),
            documents=_documents(fields),
            model=fields.text("model"),
            options={} if (priority := fields.take("priority")) is None else {"priority": priority},
            user=fields.user(),
            ignored=fields.unread(),
        )

    def answer(self, asked: ParsedRequest, ranked: RankedAnswer) -> Any:
        """VLLM's answer."""
        return {
            "id": ranked.id,
            "object": "list",
            "created": int(time.time()),
            "model": ranked.model,
            "data": [{"index": index, "object": "score", "score": score} for index, score in sorted(ranked.rows)],
            "usage": {"prompt_tokens": ranked.tokens, "total_tokens": ranked.tokens},
        }

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """OpenAI's error, as vLLM has it."""
        return error_fields(error.message, error.kind, status, error.param)


def _query(fields: Fields) -> str:
    """The one text that all others are compared with; vLLM also takes as many of them as there are others."""
    value = fields.take(*_QUERIES)
    if isinstance(value, list):
        name = next(name for name in _QUERIES if fields.body.get(name) is not None)
        if len(value) != 1:
            raise bad_request(f"{name} must be one text, got {len(value)}: send a request for each of them", name)
        return Fields({name: value[0]}).query(name)
    return fields.query(*_QUERIES)


def _documents(fields: Fields) -> list[Document]:
    value = fields.take(*_DOCUMENTS)
    if isinstance(value, str | dict):
        return [value]
    return fields.documents(*_DOCUMENTS)
