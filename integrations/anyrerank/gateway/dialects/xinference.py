"""Xinference: base URL of the gateway. Requests are in the dialect of the shared `/v1/rerank`.

Source: https://inference.readthedocs.io/en/latest/models/model_abilities/rerank.html
"""

from __future__ import annotations

from typing import Any

from anyrerank.gateway.dialects._base import CohereStyle


class Xinference(CohereStyle):
    """Its client asks what kind of model it has before it sends anything."""

    name = "xinference"
    info_paths = ("/v1/models/{model}",)
    key_checks = ("/v1/cluster/auth",)

    def model_info(self, route: str, model: str, max_documents: int) -> Any:
        """A description of a model, with OpenAI's fields, as its clients ask the same path."""
        return {
            "id": model,
            "object": "model",
            "created": 0,
            "owned_by": "anyrerank",
            "model_uid": model,
            "model_name": model,
            "model_type": "rerank",
            "model_ability": ["rerank"],
        }

    def key_check(self, *, needed: bool) -> Any:
        """Its client sends a key only to a cluster that says so."""
        return {"auth": needed}
