"""DeepInfra (https://deepinfra.com/Qwen/Qwen3-Reranker-8B/api).

The answer is a list of scores in the order of the documents. One query applies to all documents. The limit on the
number of documents is not documented; 1,000 have been seen to work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import override

from anyrerank._core.types import Answer, RerankRequest, Scale, texts_of
from anyrerank.providers._base import Provider, dig, dollars, in_order, is_endpoint, usage


class DeepInfra(Provider):
    """Scores of Qwen3-Reranker are probabilities. The scale of other models is not documented."""

    prefix = "deepinfra"
    title = "DeepInfra"
    key_page = "https://deepinfra.com/dash/api_keys"
    key_variables = ("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN")
    base_variables = ("DEEPINFRA_API_BASE",)
    default_base = "https://api.deepinfra.com/v1"
    options = frozenset({"instruction", "service_tier"})
    scale = "unit"
    documents_per_request = 1000

    @override
    def score_scale(self, options: Mapping[str, Any]) -> Scale:
        return self.scale if "qwen3-reranker" in self.connection.model.lower() else "unknown"

    @override
    def url(self, request: RerankRequest) -> str:
        parts = urlsplit(self.base)
        path = parts.path.rstrip("/").removesuffix("/openai")
        if "/inference/" not in path and not is_endpoint(path):
            path = f"{path.removesuffix('/inference')}/inference/{self.connection.model}"
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        return {"queries": [request.query], "documents": texts_of(request), **request.options}

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        tokens = dig(body, "input_tokens")
        return Answer(
            scores=in_order(body, request, scores="scores"),
            id=dig(body, "request_id"),
            meta=usage(total_tokens=tokens, input_tokens=tokens),
            cost=dollars(dig(body, "inference_status", "cost")),
        )
