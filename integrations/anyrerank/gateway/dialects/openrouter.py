"""OpenRouter: base URL `/api/v1`. Haystack's client of Otari calls the same path.

Source: https://openrouter.ai/docs/api/api-reference/rerank
"""

from anyrerank.gateway.dialects._base import CohereStyle


class OpenRouter(CohereStyle):
    """Each result has its document."""

    name = "openrouter"
    paths = ("/api/v1/rerank",)
    documents_by_default = True
