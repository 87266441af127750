"""Cohere's own API, v1 and v2, wherever it is served. The version in the final URL decides the body.

v1 takes mappings and `rank_fields`, v2 only strings (https://docs.cohere.com/reference/rerank).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from anyrerank._core.types import Document, RerankRequest, texts_of
from anyrerank.providers._base.cohere_style import COHERE_USAGE, CohereStyle

_V1_ONLY, _V2_ONLY = frozenset({"max_chunks_per_doc"}), frozenset({"max_tokens_per_doc", "priority", "relevant_spans"})
_MAX_CHUNKS_V1 = 9_999
_DEFAULT_CHUNKS_PER_DOC = 10


class CohereVersions(CohereStyle):
    """Scores are calibrated to 0..1.

    A request holds at most 1,000 documents, as the vendor recommends. On v1 it also holds fewer than 10,000 chunks: 10
    for each document, or `max_chunks_per_doc`.
    """

    options = _V1_ONLY | _V2_ONLY
    scale = "unit"
    sends_mappings = True
    documents_per_request = 1000
    tokens_per_document = 4096
    unit_tokens = 500
    usage_paths = COHERE_USAGE

    def versioned_url(self, options: Mapping[str, Any]) -> str:
        """The final URL of a request with these options."""
        raise NotImplementedError

    @override
    def max_documents(self, options: Mapping[str, Any]) -> int | None:
        limit = self.documents_per_request
        if limit and self._is_v1(options):
            chunks: int = options.get("max_chunks_per_doc", _DEFAULT_CHUNKS_PER_DOC)
            return max(1, min(limit, _MAX_CHUNKS_V1 // chunks))
        return limit

    @override
    def cuts_documents(self, options: Mapping[str, Any]) -> bool:
        return not self._is_v1(options)

    @override
    def check_options(self, options: Mapping[str, Any]) -> None:
        if (priority := options.get("priority", 0)) < 0:
            raise self.bad_request(f"priority must be at least 0 for Cohere, got {priority}")

    @override
    def url(self, request: RerankRequest) -> str:
        return self.versioned_url(request.options)

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        v1 = self._is_v1(request.options)
        if wrong := request.options.keys() & (_V2_ONLY if v1 else _V1_ONLY):
            raise self.bad_request(
                f"{', '.join(sorted(wrong))}: not in Cohere's {'v1' if v1 else 'v2'} API; leave it out, or pass "
                f"an api_base that ends in {'/v2' if v1 else '/v1'}"
            )
        fields = {"rank_fields": request.rank_fields} if v1 and request.rank_fields else {}
        return {**super().body(request), **fields}

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        return request.documents if self._is_v1(request.options) else texts_of(request)

    def _is_v1(self, options: Mapping[str, Any]) -> bool:
        return urlsplit(self.versioned_url(options)).path.endswith("/v1/rerank")
