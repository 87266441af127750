"""Alibaba DashScope's native API, and its compatible one: base URL of the gateway.

Source: https://help.aliyun.com/zh/model-studio/text-rerank-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from anyrerank.gateway.dialects._base import CohereStyle, Dialect, Fields, ParsedRequest, RankedAnswer
from anyrerank.gateway.errors import GatewayError

_CODES: Mapping[str, str] = {
    "invalid_request_error": "InvalidParameter",
    "too_large": "InvalidParameter",
    "authentication_error": "InvalidApiKey",
    "permission_error": "AccessDenied",
    "unknown_model": "ModelNotFound",
    "rate_limit_exceeded": "Throttling.RateQuota",
    "budget_exceeded": "Throttling.AllocationQuota",
    "overloaded": "ServiceUnavailable",
    "unavailable": "ServiceUnavailable",
}


class DashScope(Dialect):
    """`input` and `parameters` in, `output.results` out."""

    name = "dashscope"
    paths: ClassVar = ("/api/v1/services/rerank/text-rerank/text-rerank",)

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether `input` is an object."""
        return isinstance(body.get("input"), Mapping)

    def read(self, fields: Fields, path: Mapping[str, str]) -> ParsedRequest:
        """The request in a body."""
        given, parameters = fields.section("input"), fields.section("parameters")
        instruction = parameters.text("instruct")
        return ParsedRequest(
            query=given.query("query"),
            documents=given.documents("documents"),
            model=fields.text("model"),
            top_n=parameters.count("top_n"),
            with_documents=bool(parameters.flag("return_documents")),
            user=fields.user(),
            options={} if instruction is None else {"instruction": instruction},
            ignored=(*fields.unread(), *given.unread(), *parameters.unread()),
        )

    def answer(self, asked: ParsedRequest, ranked: RankedAnswer) -> Any:
        """The native answer."""
        return {
            "output": {"results": CohereStyle.rows(_COMPATIBLE, asked, ranked)},
            "usage": {"total_tokens": ranked.tokens},
            "request_id": ranked.request_id,
        }

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """DashScope's error."""
        return _error(error, request_id)


class DashScopeCompatible(CohereStyle):
    """Like Jina's API, at other paths and with DashScope's errors."""

    name = "dashscope_compatible"
    paths: ClassVar = ("/compatible-api/v1/reranks", "/compatible-mode/v1/reranks", "/v1/reranks")

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """DashScope's error."""
        return _error(error, request_id)


_COMPATIBLE = DashScopeCompatible()


def _error(error: GatewayError, request_id: str) -> dict[str, str]:
    return {"code": _CODES.get(error.kind, "InternalError"), "message": error.message, "request_id": request_id}
