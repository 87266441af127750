"""Jina AI (https://jina.ai/reranker; https://api.jina.ai/redoc).

The API has no documented limit on the number of documents. Scores of v3 and later may be negative, and what they mean
is not documented; v3 and later rank all documents of a request together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from typing_extensions import override

from anyrerank._core.types import Document, RerankRequest, Scale, texts_of
from anyrerank.providers._base import CohereStyle

_TEXT_ONLY = re.compile(r"jina-reranker-v\d|jina-colbert")
_TOGETHER = re.compile(r"jina-reranker-v(?:[3-9]|\d\d)")


class JinaAi(CohereStyle):
    """`jina-reranker-m0` also ranks mappings with an `image` (an address or base64)."""

    prefix = "jina_ai"
    title = "Jina AI"
    sends_mappings = True
    key_variables = ("JINA_AI_API_KEY", "JINA_API_KEY", "JINA_AI_TOKEN", "JINAAI_API_KEY")
    base_variables = ("JINA_AI_API_BASE",)
    default_base = "https://api.jina.ai/v1"
    scale = "unit"
    images = True
    fixed = MappingProxyType({"return_documents": False})

    @classmethod
    @override
    def reads_images(cls, model: str) -> bool:
        return not _TEXT_ONLY.match(model)

    @property
    @override
    def ranks_together(self) -> bool:
        return bool(_TOGETHER.match(self.connection.model))

    @override
    def score_scale(self, options: Mapping[str, Any]) -> Scale:
        return "unknown" if self.ranks_together else self.scale

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        pictured = self.reads_images(self.connection.model) and any(
            isinstance(document, Mapping) and document.get("image") for document in request.documents
        )
        return request.documents if pictured else texts_of(request)
