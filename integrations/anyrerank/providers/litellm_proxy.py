"""A LiteLLM proxy, or anything that answers as one (https://docs.litellm.ai/docs/rerank).

The model is a `model_name` of the proxy's `model_list`. Options go through to the model behind it, which may drop them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from typing_extensions import override

from anyrerank._core.runtime import HttpResponse
from anyrerank._core.types import Answer, Document, RerankRequest
from anyrerank.errors import AuthenticationError, RerankError
from anyrerank.providers._base import COHERE_USED, CohereStyle, dig, dollars


class LitellmProxy(CohereStyle):
    """A proxy without a master key takes calls without one. Scores are those of the model behind it."""

    prefix = "litellm_proxy"
    title = "LiteLLM proxy"
    sends_mappings = True
    ranks_mappings = True
    key_variables = ("LITELLM_PROXY_API_KEY",)
    base_variables = ("LITELLM_PROXY_API_BASE",)
    needs_key = False
    options = frozenset({"instruction", "max_chunks_per_doc", "max_tokens_per_doc", "truncate"})
    fixed = MappingProxyType({"return_documents": False})
    used = COHERE_USED

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        fields = {"rank_fields": request.rank_fields} if request.rank_fields else {}
        return {**super().body(request), **fields}

    @override
    def read(self, request: RerankRequest, response: HttpResponse) -> Answer:
        return replace(super().read(request, response), cost=_dollars(response.headers))

    @override
    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        # a proxy without a database has nowhere to look a key up that is not the master key
        refused = response.status == 400 and dig(body, "error", "type") == "no_db_connection"
        return AuthenticationError if refused else super().error_class(response, body)

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        return request.documents


def _dollars(headers: Mapping[str, str]) -> float | None:
    """What the proxy says that the call cost; it says 0 of what it has no price for."""
    try:
        return dollars(float(headers.get("x-litellm-response-cost", "")))
    except ValueError:
        return None
