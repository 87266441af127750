"""LiteLLM's proxy, and the paths that it shares with Cohere, Jina and vLLM.

Source: https://docs.litellm.ai/docs/rerank
"""

from collections.abc import Sequence
from typing import ClassVar

from anyrerank.gateway.dialects._base import CohereStyle


class LiteLLM(CohereStyle):
    """`/rerank`: documents come back unless the client says otherwise."""

    name = "litellm"
    paths: ClassVar[Sequence[str]] = ("/rerank", "/v1/rerank")
    documents_by_default = True
    shared = True
    statuses: ClassVar = {"unknown_model": 400, "upstream_timeout": 408}


class LiteLLMV2(LiteLLM):
    """`/v2/rerank`: documents come back only if the client wants them, as at Cohere."""

    name = "litellm_v2"
    paths = ("/v2/rerank",)
    documents_by_default = False
