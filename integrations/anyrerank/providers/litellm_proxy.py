"""A LiteLLM proxy, or any server with the same API (https://docs.litellm.ai/docs/rerank)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from typing_extensions import override

from anyrerank._core.runtime import HttpResponse
from anyrerank._core.types import Answer, Document, RerankRequest
from anyrerank.errors import AuthenticationError, RerankError
from anyrerank.providers._base import COHERE_USAGE, CohereStyle, dig, dollars


class LitellmProxy(CohereStyle):
    """The model is a `model_name` in the proxy's `model_list`. Scores are those of the model behind it.

    Options are forwarded to that model, and the proxy may drop them. A proxy without a master key needs no key.
    """

    prefix = "litellm_proxy"
    title = "LiteLLM proxy"
    sends_mappings = True
    ranks_mappings = True
    key_variables = ("LITELLM_PROXY_API_KEY",)
    base_variables = ("LITELLM_PROXY_API_BASE",)
    needs_key = False
    options = frozenset({"instruction", "max_chunks_per_doc", "max_tokens_per_doc", "relevant_spans", "truncate"})
    constants = MappingProxyType({"return_documents": False})
    usage_paths = COHERE_USAGE

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        fields = {"rank_fields": request.rank_fields} if request.rank_fields else {}
        return {**super().body(request), **fields}

    @override
    def read(self, request: RerankRequest, response: HttpResponse) -> Answer:
        return replace(super().read(request, response), cost=_cost(response.headers))

    @override
    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        # without a database, the proxy answers any key but the master key with a 400
        wrong_key = response.status == 400 and dig(body, "error", "type") == "no_db_connection"
        return AuthenticationError if wrong_key else super().error_class(response, body)

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        return request.documents


def _cost(headers: Mapping[str, str]) -> float | None:
    """The cost that the proxy reports; it reports 0 for a model without a price."""
    try:
        return dollars(float(headers.get("x-litellm-response-cost", "")))
    except ValueError:
        return None
