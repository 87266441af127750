"""Voyage AI (https://docs.voyageai.com/docs/reranker; https://docs.voyageai.com/reference/reranker-api).

A request may hold 1,000 documents and 600,000 tokens (300,000 for models of the first generation): the tokens of the
query times the number of documents, plus the tokens of all documents. They are estimated here, generously. A request
that is too large nevertheless is halved. Each document is scored alone, so a split changes no score. The limits of
rerank-3 are not documented; those of 2.5 are assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from anyrerank._core.types import RerankRequest, texts_of, tokens_in
from anyrerank.providers._base import TOTAL_USAGE, CohereStyle, endpoint, truncate_word

_ATLAS = "https://ai.mongodb.com/v1"
_TOKENS, _TOKENS_FIRST_GENERATION = 600_000, 300_000
_FIRST_GENERATION = ("rerank-1", "rerank-lite-1")


class Voyage(CohereStyle):
    """A key that starts with `al-` is from MongoDB Atlas and is sent to its host, unless you pass a base URL.

    `truncate` is "END" or True (the vendor's default), or "NONE" or False, which makes a text that is too long an
    error.
    """

    prefix = "voyage"
    title = "Voyage AI"
    key_page = "https://dashboard.voyageai.com/organization/api-keys"
    key_variables = ("VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", "VOYAGE_AI_TOKEN")
    key_file_variables = ("VOYAGE_API_KEY_PATH",)
    base_variables = ("VOYAGE_API_BASE",)
    default_base = "https://api.voyageai.com/v1"
    options = frozenset({"truncate"})
    scale = "unit"
    documents_per_request = 1000
    top_n_key = "top_k"
    rows = "data"
    usage_paths = TOTAL_USAGE

    @override
    def check_options(self, options: Mapping[str, Any]) -> None:
        if truncate_word(options.get("truncate")) not in (None, "NONE", "END"):
            raise self.bad_request("truncate must be 'NONE' or 'END' (or False or True) for Voyage AI")

    @override
    def url(self, request: RerankRequest) -> str:
        is_atlas = not self.connection.api_base and (self.connection.api_key or "").startswith("al-")
        return endpoint(_ATLAS if is_atlas else self.base)

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        body = super().body(request)
        truncate = truncate_word(body.pop("truncate", None))
        return body if truncate is None else {**body, "truncation": truncate == "END"}

    @override
    def batch_starts(self, request: RerankRequest, size: int) -> Sequence[int]:
        limit = _TOKENS_FIRST_GENERATION if self.connection.model in _FIRST_GENERATION else _TOKENS
        query_tokens = tokens_in(request.query)
        starts, used = [0], 0
        for index, text in enumerate(texts_of(request)):
            tokens = query_tokens + tokens_in(text)
            if index - starts[-1] == size or (used and used + tokens > limit):
                starts.append(index)
                used = 0
            used += tokens
        return starts
