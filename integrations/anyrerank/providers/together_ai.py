"""Together AI (https://docs.together.ai/reference/rerank).

Status 403 means that the input is longer than the model's context (https://docs.together.ai/docs/error-codes). Neither
the scale of the scores nor the limit on the number of documents is documented.
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
    """Mappings are sent whole to Salesforce/Llama-Rank, or when `rank_fields` is given. Other models get texts."""

    prefix = "together_ai"
    title = "Together AI"
    key_page = "https://api.together.ai/settings/api-keys"
    sends_mappings = True
    key_variables = ("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_TOKEN")
    base_variables = ("TOGETHER_AI_API_BASE", "TOGETHER_BASE_URL")
    default_base = "https://api.together.ai/v1"
    constants = MappingProxyType({"return_documents": False})
    usage_paths = MappingProxyType(
        {
            "total_tokens": ("usage.total_tokens",),
            "input_tokens": ("usage.prompt_tokens",),
            "output_tokens": ("usage.completion_tokens",),
        }
    )

    @override
    def url(self, request: RerankRequest) -> str:
        # to a base without a version, LiteLLM appends only the operation, the vendor's SDK the version as well
        root = self.root if self.connection.base_variable == "TOGETHER_BASE_URL" else ""
        return endpoint(self.base, self.operation, root=root)

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        fields = {"rank_fields": request.rank_fields or ["text"]} if self._sends_objects(request) else {}
        return {**super().body(request), **fields}

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        return request.documents if self._sends_objects(request) else texts_of(request)

    @override
    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        return BadRequestError if response.status == 403 else super().error_class(response, body)

    def _sends_objects(self, request: RerankRequest) -> bool:
        ranks_fields = bool(request.rank_fields) or "llama-rank" in self.connection.model.lower()
        return ranks_fields and all(isinstance(document, Mapping) for document in request.documents)
