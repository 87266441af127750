"""Cohere, v1 and v2 (https://docs.cohere.com/reference/rerank).

If the base URL has no version, v2 is called, or v1 when `max_chunks_per_doc` is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from anyrerank.providers._base import CohereVersions, endpoint


class Cohere(CohereVersions):
    """One search unit is a query with up to 100 documents. A document of more than about 500 tokens counts as several.

    `max_chunks_per_doc` exists in Cohere's v1 API, `priority` and `relevant_spans` in v2. `relevant_spans` (True, or a
    mapping of `threshold` and `max_spans`) is for models from `rerank-v5.0` on, which bill tokens.
    """

    prefix = "cohere"
    title = "Cohere"
    key_page = "https://dashboard.cohere.com/api-keys"
    key_variables = ("COHERE_API_KEY", "CO_API_KEY")
    base_variables = ("COHERE_API_BASE", "CO_API_URL")
    default_base = "https://api.cohere.com"

    @override
    def versioned_url(self, options: Mapping[str, Any]) -> str:
        return endpoint(self.base, root="/v1" if "max_chunks_per_doc" in options else "/v2")
