"""Voyage AI (https://docs.voyageai.com/docs/reranker; https://docs.voyageai.com/reference/reranker-api).

Besides 1,000 documents, a request may hold 600,000 tokens (300,000 for the models of the first generation): those of
the query times the number of documents, plus those of all documents. They are estimated here, on the high side, and a
request that is too large all the same is halved; since each document is scored alone, a split changes no score. The
limits of rerank-3 are not documented; those of 2.5 are assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from anyrerank._core.types import RerankRequest, texts_of, tokens_in
from anyrerank.providers._base import TOTAL_USED, CohereStyle, endpoint

_ATLAS = "https://ai.mongodb.com/v1"
_TOKENS, _TOKENS_FIRST_GENERATION = 600_000, 300_000
_FIRST_GENERATION = ("rerank-1", "rerank-lite-1")


class Voyage(CohereStyle):
    """Keys that start with `al-` belong to MongoDB Atlas and go to its host, unless a base URL is given.

    `truncate` is "END" (the vendor's default) or "NONE", which makes a text that is too long an error.
    """

    prefix = "voyage"
    title = "Voyage AI"
    key_variables = ("VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", "VOYAGE_AI_TOKEN")
    key_file_variables = ("VOYAGE_API_KEY_PATH",)
    base_variables = ("VOYAGE_API_BASE",)
    default_base = "https://api.voyageai.com/v1"
    options = frozenset({"truncate"})
    scale = "unit"
    documents_per_request = 1000
    top_n_key = "top_k"
    rows = "data"
    used = TOTAL_USED

    @override
    def url(self, request: RerankRequest) -> str:
        atlas = not self.connection.api_base and (self.connection.api_key or "").startswith("al-")
        return endpoint(_ATLAS if atlas else self.base)

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        body = super().body(request)
        truncate = body.pop("truncate", None)
        if truncate not in (None, "NONE", "END"):
            raise self.refuse("truncate is 'NONE' or 'END' at Voyage AI")
        return body if truncate is None else {**body, "truncation": truncate == "END"}

    @override
    def starts(self, request: RerankRequest, size: int) -> Sequence[int]:
        most = _TOKENS_FIRST_GENERATION if self.connection.model in _FIRST_GENERATION else _TOKENS
        each = tokens_in(request.query)
        starts, used = [0], 0
        for place, text in enumerate(texts_of(request)):
            tokens = each + tokens_in(text)
            if place - starts[-1] == size or (used and used + tokens > most):
                starts.append(place)
                used = 0
            used += tokens
        return starts
