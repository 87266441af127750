"""Alibaba DashScope, compatible and native form (https://help.aliyun.com/zh/model-studio/text-rerank-api).

`qwen3-rerank` speaks the compatible form, other models the native one, unless the base URL says which. The vendor calls
scores relative to the request, so documents are not split silently and no scale is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import override

from anyrerank._core.types import Answer, RerankRequest, texts_of
from anyrerank.providers._base import Provider, dig, first_at, ranked, usage

_COMPATIBLE = "/compatible-api/v1/reranks"
_NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"
_COMPATIBLE_MODEL = "qwen3-rerank"
_LIMITS = {"qwen3-vl-rerank": 100}


class DashScope(Provider):
    """500 documents a request, 100 for `qwen3-vl-rerank`. Abroad the host is `dashscope-intl.aliyuncs.com`."""

    prefix = "dashscope"
    title = "Alibaba DashScope"
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
        for known in ("/compatible-mode/v1", "/compatible-api/v1", "/api/v1"):
            path = path.removesuffix(known)
        path = path.replace("/compatible-mode/v1/reranks", _COMPATIBLE)
        if not path.endswith(("/reranks", "/text-rerank")):
            path += _NATIVE if self._is_native else _COMPATIBLE
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        asked = {"query": request.query, "documents": texts_of(request)}
        instruction = request.options.get("instruction")
        known = {"top_n": request.top_n, "instruct": instruction}
        parameters = {name: value for name, value in known.items() if value is not None}
        if self._is_native:
            parameters = {"return_documents": False, **parameters}
            return {"model": self.connection.model, "input": asked, "parameters": parameters}
        return {"model": self.connection.model, **asked, **parameters}

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
        return self.connection.model != _COMPATIBLE_MODEL and not path.endswith(
            ("/reranks", "/compatible-api/v1", "/compatible-mode/v1")
        )
