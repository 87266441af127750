"""Fireworks AI (https://docs.fireworks.ai/api-reference/rerank-documents).

The limit on the number of documents is not documented.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from typing_extensions import override

from anyrerank._core.types import RerankRequest
from anyrerank.providers._base import CohereStyle


class FireworksAi(CohereStyle):
    """A model without a path belongs to Fireworks: `qwen3-reranker-8b` is sent as `fireworks/qwen3-reranker-8b`."""

    prefix = "fireworks_ai"
    title = "Fireworks AI"
    key_page = "https://app.fireworks.ai/settings/users/api-keys"
    key_variables = ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN")
    base_variables = ("FIREWORKS_API_BASE", "FIREWORKS_AI_API_BASE")
    default_base = "https://api.fireworks.ai/inference/v1"
    options = frozenset({"instruction"})
    scale = "unit"
    root = "/inference/v1"
    constants = MappingProxyType({"return_documents": False})
    option_names = MappingProxyType({"instruction": "task"})
    rows = "data"
    usage_paths = MappingProxyType(
        {
            "total_tokens": ("usage.total_tokens",),
            "input_tokens": ("usage.prompt_tokens",),
            "output_tokens": ("usage.completion_tokens",),
        }
    )

    @property
    @override
    def price_names(self) -> tuple[str, ...]:
        return (self.deployment, f"{self.prefix}/accounts/fireworks/models/{self.connection.model.rpartition('/')[2]}")

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        model = self.connection.model
        has_path = model.startswith(("accounts/", "fireworks/"))
        return {**super().body(request), "model": model if has_path else f"fireworks/{model}"}
