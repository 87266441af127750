"""Pinecone (https://docs.pinecone.io/reference/api/latest/inference/rerank)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from typing_extensions import override

from anyrerank._core.types import Document, RerankRequest
from anyrerank.providers._base import CohereStyle, endpoint, truncate_word

_API_VERSION = "2026-07"
_LIMITED_MODELS = frozenset({"bge-reranker-v2-m3", "pinecone-rerank-v0"})


class Pinecone(CohereStyle):
    """Documents are sent as mappings; a string becomes `{"text": ...}`. `truncate` is "END" (or True)
    or "NONE" (or False).

    `bge-reranker-v2-m3` and `pinecone-rerank-v0` take 100 documents per request. The limits of other models are not
    known.
    """

    prefix = "pinecone"
    title = "Pinecone"
    key_page = "https://app.pinecone.io/organizations/-/keys"
    sends_mappings = True
    key_variables = ("PINECONE_API_KEY",)
    key_headers = ("api-key", "authorization")
    base_variables = ("PINECONE_API_BASE",)
    default_base = "https://api.pinecone.io"
    options = frozenset({"truncate"})
    scale = "unit"
    documents_per_request = 100
    constants = MappingProxyType({"return_documents": False})
    rows = "data"
    score_key = "score"
    usage_paths = MappingProxyType({"search_units": ("usage.rerank_units",)})

    @override
    def max_documents(self, options: Mapping[str, Any]) -> int | None:
        return self.documents_per_request if self.connection.model in _LIMITED_MODELS else None

    @override
    def url(self, request: RerankRequest) -> str:
        return endpoint(self.base, root="")

    @override
    def headers(self) -> dict[str, str]:
        return {"x-pinecone-api-version": _API_VERSION, **super().headers()}

    @override
    def authorization(self) -> dict[str, str]:
        return {"api-key": self.connection.api_key} if self.connection.api_key else {}

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        body = super().body(request)
        if (truncate := body.pop("truncate", None)) is not None:
            body["parameters"] = {"truncate": truncate_word(truncate)}
        return {**body, "rank_fields": list(request.rank_fields or ["text"])}

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        return [{"text": each} if isinstance(each, str) else each for each in request.documents]
