"""Cohere's API under a prefix: base URL `/cohere` for its SDK.

Source: https://docs.cohere.com/reference/rerank
"""

from anyrerank.gateway.dialects._base import CohereStyle


class CohereV1(CohereStyle):
    """`/v1/rerank`: documents come back unless the client says otherwise."""

    name = "cohere_v1"
    paths = ("/cohere/v1/rerank",)
    documents_by_default = True


class CohereV2(CohereStyle):
    """`/v2/rerank`: no documents in the answer."""

    name = "cohere_v2"
    paths = ("/cohere/v2/rerank",)
