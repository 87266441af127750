"""Cohere's own API, v1 and v2, wherever it is served: the version in the final URL decides the body.

v2 takes strings, v1 also mappings and `rank_fields` (https://docs.cohere.com/reference/rerank).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from anyrerank._core.types import Document, RerankRequest, texts_of
from anyrerank.providers._base.cohere_style import COHERE_USED, CohereStyle

_V1_ONLY, _V2_ONLY = frozenset({"max_chunks_per_doc"}), frozenset({"max_tokens_per_doc", "priority"})
_MAX_CHUNKS_V1 = 9_999
_DEFAULT_CHUNKS_PER_DOC = 10


class CohereVersions(CohereStyle):
    """At most 1,000 documents a request (recommended by the vendor); on v1 also fewer than 10,000 chunks, at 10 a
    document unless `max_chunks_per_doc` says otherwise. Scores are calibrated to 0..1.
    """

    options = _V1_ONLY | _V2_ONLY
    scale = "unit"
    sends_mappings = True
    documents_per_request = 1000
    used = COHERE_USED

    def versioned_url(self, options: Mapping[str, Any]) -> str:
        """The final URL for a call with these options."""
        raise NotImplementedError

    @override
    def max_documents(self, options: Mapping[str, Any]) -> int | None:
        most = self.documents_per_request
        if most and self._is_v1(options):
            chunks = self.whole_option(options, "max_chunks_per_doc", at_least=1) or _DEFAULT_CHUNKS_PER_DOC
            return max(1, min(most, _MAX_CHUNKS_V1 // chunks))
        return most

    @override
    def url(self, request: RerankRequest) -> str:
        return self.versioned_url(request.options)

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        v1 = self._is_v1(request.options)
        if wrong := request.options.keys() & (_V2_ONLY if v1 else _V1_ONLY):
            raise self.refuse(
                f"{', '.join(sorted(wrong))}: not in Cohere's {'v1' if v1 else 'v2'} API; let api_base end in "
                f"{'/v2' if v1 else '/v1'}, or leave the option out"
            )
        self.whole_option(request.options, "max_tokens_per_doc", at_least=1)
        self.whole_option(request.options, "priority", at_least=0)
        fields = {"rank_fields": request.rank_fields} if v1 and request.rank_fields else {}
        return {**super().body(request), **fields}

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        return request.documents if self._is_v1(request.options) else texts_of(request)

    def _is_v1(self, options: Mapping[str, Any]) -> bool:
        return urlsplit(self.versioned_url(options)).path.endswith("/v1/rerank")
