"""Cohere, v1 and v2 (https://docs.cohere.com/reference/rerank).

Without a version in the base URL it is v2, or v1 when `max_chunks_per_doc` asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from anyrerank.providers._base import CohereVersions, endpoint


class Cohere(CohereVersions):
    """One search unit is a query with up to 100 documents; a document above about 500 tokens counts more than once."""

    prefix = "cohere"
    title = "Cohere"
    key_variables = ("COHERE_API_KEY", "CO_API_KEY")
    base_variables = ("COHERE_API_BASE", "CO_API_URL")
    default_base = "https://api.cohere.com"

    @override
    def versioned_url(self, options: Mapping[str, Any]) -> str:
        return endpoint(self.base, root="/v1" if "max_chunks_per_doc" in options else "/v2")
