"""Jina AI (https://jina.ai/reranker; https://api.jina.ai/redoc).

The API documents no limit on the number of documents, and no scale for models from v3 on.
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
_LISTWISE = re.compile(r"jina-reranker-v(?:[3-9]|\d\d)")


class JinaAi(CohereStyle):
    """Models from v3 on rank all documents of a request together, and their scores may be negative.

    `jina-reranker-m0` also ranks mappings with an `image`, which is a URL or base64.
    """

    prefix = "jina_ai"
    title = "Jina AI"
    key_page = "https://jina.ai/api-dashboard/key-manager"
    sends_mappings = True
    key_variables = ("JINA_AI_API_KEY", "JINA_API_KEY", "JINA_AI_TOKEN", "JINAAI_API_KEY")
    base_variables = ("JINA_AI_API_BASE",)
    default_base = "https://api.jina.ai/v1"
    scale = "unit"
    images = True
    constants = MappingProxyType({"return_documents": False})

    @classmethod
    @override
    def reads_images(cls, model: str) -> bool:
        return not _TEXT_ONLY.match(model)

    @property
    @override
    def ranks_together(self) -> bool:
        return bool(_LISTWISE.match(self.connection.model))

    @override
    def score_scale(self, options: Mapping[str, Any]) -> Scale:
        return "unknown" if self.ranks_together else self.scale

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        has_images = self.reads_images(self.connection.model) and any(
            isinstance(document, Mapping) and document.get("image") for document in request.documents
        )
        return request.documents if has_images else texts_of(request)
