"""Alibaba DashScope, compatible and native API (https://help.aliyun.com/zh/model-studio/text-rerank-api).

`qwen3-rerank` uses the compatible API, other models use the native one, unless the base URL names one. According to
the vendor, scores are relative to the request. So documents are not split silently, and no scale is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import override

from anyrerank._core.types import Answer, RerankRequest, texts_of
from anyrerank.providers._base import Provider, dig, first_at, is_endpoint, ranked, usage

_COMPATIBLE = "/compatible-api/v1/reranks"
_NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"
_COMPATIBLE_MODEL = "qwen3-rerank"
_LIMITS = {"qwen3-vl-rerank": 100}


class DashScope(Provider):
    """At most 500 documents per request, 100 for `qwen3-vl-rerank`.

    A base URL that ends in `/v1` alone is that of a gateway with the compatible API. For accounts outside China, pass
    `api_base="https://dashscope-intl.aliyuncs.com"`.
    """

    prefix = "dashscope"
    title = "Alibaba DashScope"
    key_page = "https://www.alibabacloud.com/help/en/model-studio/get-api-key"
    key_variables = ("DASHSCOPE_API_KEY",)
    base_variables = ("DASHSCOPE_API_BASE_RERANK",)
    default_base = "https://dashscope.aliyuncs.com"
    options = frozenset({"instruction"})
    listwise = True
    documents_per_request = 500

    @override
    def max_documents(self, options: Mapping[str, Any]) -> int | None:
        return _LIMITS.get(self.connection.model, self.documents_per_request)

    @override
    def url(self, request: RerankRequest) -> str:
        parts = urlsplit(self.base)
        path = parts.path.rstrip("/")
        if _is_gateway(path):
            path += "/reranks"
        for version in ("/compatible-mode/v1", "/compatible-api/v1", "/api/v1"):
            path = path.removesuffix(version)
        path = path.replace("/compatible-mode/v1/reranks", _COMPATIBLE)
        if not (is_endpoint(path) or path.endswith("/text-rerank")):
            path += _NATIVE if self._is_native else _COMPATIBLE
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        texts = {"query": request.query, "documents": texts_of(request)}
        given = {"top_n": request.top_n, "instruct": request.options.get("instruction")}
        parameters = {name: value for name, value in given.items() if value is not None}
        if self._is_native:
            parameters = {"return_documents": False, **parameters}
            return {"model": self.connection.model, "input": texts, "parameters": parameters}
        return {"model": self.connection.model, **texts, **parameters}

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        tokens = dig(body, "usage", "total_tokens")
        return Answer(
            scores=ranked(
                body, request, rows="output.results" if self._is_native else "results", score="relevance_score"
            ),
            id=first_at(body, ("request_id", "id")),
            meta=usage(total_tokens=tokens, input_tokens=tokens),
        )

    @property
    def _is_native(self) -> bool:
        path = urlsplit(self.base).path.rstrip("/")
        if path.endswith(("/text-rerank", "/api/v1")):
            return True
        if _is_gateway(path) or is_endpoint(path):
            return False
        return self.connection.model != _COMPATIBLE_MODEL and not path.endswith(
            ("/compatible-api/v1", "/compatible-mode/v1")
        )


def _is_gateway(path: str) -> bool:
    """Whether a path ends in `/v1` and is not one of DashScope's own."""
    return path.endswith("/v1") and not path.endswith(("/compatible-mode/v1", "/compatible-api/v1", "/api/v1"))
