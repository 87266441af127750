"""Jina AI: base URL `/jina/v1`.

Source: https://api.jina.ai/redoc
"""

from anyrerank.gateway.dialects._base import CohereStyle, Dialect


class Jina(CohereStyle):
    """`/v1/rerank` under a prefix. Documents may be images."""

    name = "jina"
    paths = ("/jina/v1/rerank",)
    error = Dialect.error
