"""Cohere, v1 and v2 (https://docs.cohere.com/reference/rerank).

The version in the final URL decides the body: v2 takes strings, v1 also mappings and `rank_fields`. Without a version
in the base URL it is v2, or v1 when `max_chunks_per_doc` asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from typing_extensions import override

from anyrerank.providers._answers import dig, ranked, usage
from anyrerank.providers._base import Answer, Provider, Scale
from anyrerank.providers._documents import texts_of
from anyrerank.providers._urls import endpoint
from anyrerank.schema import RerankRequest

_V1_ONLY, _V2_ONLY = frozenset({"max_chunks_per_doc"}), frozenset({"max_tokens_per_doc", "priority"})
_MAX_DOCUMENTS = 1000
_MAX_CHUNKS_V1 = 9_999
_DEFAULT_CHUNKS_PER_DOC = 10


class Cohere(Provider):
    """Scores are calibrated to 0..1. At most 1,000 documents a request (recommended by the vendor); on v1 also fewer
    than 10,000 chunks, at 10 a document unless `max_chunks_per_doc` says otherwise.
    """

    prefix: ClassVar[str] = "cohere"
    title: ClassVar[str] = "Cohere"
    key_variables: ClassVar[tuple[str, ...]] = ("COHERE_API_KEY", "CO_API_KEY")
    base_variables: ClassVar[tuple[str, ...]] = ("COHERE_API_BASE", "CO_API_URL")
    default_base: ClassVar[str | None] = "https://api.cohere.com"
    options: ClassVar[frozenset[str]] = _V1_ONLY | _V2_ONLY
    scale: ClassVar[Scale] = "unit"

    @override
    def max_documents(self, options: Mapping[str, Any]) -> int:
        if self._is_v1(options):
            chunks = self.whole_option(options, "max_chunks_per_doc", at_least=1) or _DEFAULT_CHUNKS_PER_DOC
            return max(1, min(_MAX_DOCUMENTS, _MAX_CHUNKS_V1 // chunks))
        return _MAX_DOCUMENTS

    @override
    def url(self, request: RerankRequest) -> str:
        return self._url(request.options)

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
        body: dict[str, Any] = {
            "model": self.connection.model,
            "query": request.query,
            "documents": request.documents if v1 else texts_of(request),
            **request.options,
        }
        if request.top_n is not None:
            body["top_n"] = request.top_n
        if v1 and request.rank_fields:
            body["rank_fields"] = request.rank_fields
        return body

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        scores = ranked(body, request, rows="results", score="relevance_score")
        meta = dig(body, "meta")
        billed, tokens = dig(meta, "billed_units"), dig(meta, "tokens")
        used = usage(
            search_units=dig(billed, "search_units"),
            total_tokens=dig(billed, "total_tokens"),
            input_tokens=dig(tokens, "input_tokens"),
            output_tokens=dig(tokens, "output_tokens"),
            api_version=dig(meta, "api_version"),
            warnings=dig(meta, "warnings"),
        )
        return Answer(scores=scores, id=dig(body, "id"), meta=used)

    def _is_v1(self, options: Mapping[str, Any]) -> bool:
        return urlsplit(self._url(options)).path.endswith("/v1/rerank")

    def _url(self, options: Mapping[str, Any]) -> str:
        return endpoint(self.base, root="/v1" if "max_chunks_per_doc" in options else "/v2")
