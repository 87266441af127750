"""Together AI (https://docs.together.ai/reference/rerank).

403 means that the input is longer than the model's context (https://docs.together.ai/docs/error-codes). Whether scores
are within 0..1 for every model, and how many documents a request may hold, is not documented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from typing_extensions import override

from anyrerank._core.runtime import HttpResponse
from anyrerank._core.types import Document, RerankRequest, texts_of
from anyrerank.errors import BadRequestError, RerankError
from anyrerank.providers._base import CohereStyle, endpoint


class TogetherAi(CohereStyle):
    """Mappings and `rank_fields` go out as they are where Salesforce/Llama-Rank ranks them; other models get texts."""

    prefix = "together_ai"
    title = "Together AI"
    sends_mappings = True
    key_variables = ("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_TOKEN")
    base_variables = ("TOGETHER_AI_API_BASE", "TOGETHER_BASE_URL")
    default_base = "https://api.together.ai/v1"
    fixed = MappingProxyType({"return_documents": False})
    used = MappingProxyType(
        {
            "total_tokens": ("usage.total_tokens",),
            "input_tokens": ("usage.prompt_tokens",),
            "output_tokens": ("usage.completion_tokens",),
        }
    )

    @override
    def url(self, request: RerankRequest) -> str:
        # LiteLLM adds nothing but the operation to a base without a version, the vendor's SDK adds the version too
        root = self.root if self.connection.base_variable == "TOGETHER_BASE_URL" else ""
        return endpoint(self.base, self.operation, root=root)

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        fields = {"rank_fields": request.rank_fields or ["text"]} if self._as_objects(request) else {}
        return {**super().body(request), **fields}

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        return request.documents if self._as_objects(request) else texts_of(request)

    @override
    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        return BadRequestError if response.status == 403 else super().error_class(response, body)

    def _as_objects(self, request: RerankRequest) -> bool:
        wanted = bool(request.rank_fields) or "llama-rank" in self.connection.model.lower()
        return wanted and all(isinstance(document, Mapping) for document in request.documents)
