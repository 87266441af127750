"""vLLM's server (https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html, "Re-rank API").

`/v1/rerank` is called because vLLM does not check the key on `/rerank`.
"""

from __future__ import annotations

from anyrerank.providers._base import TOTAL_USAGE, CohereStyle


class HostedVllm(CohereStyle):
    """What the scores mean depends on the model: mostly 0..1 for cross-encoders, cosines for bi-encoders.

    Older servers ignore options that they do not know, such as `instruction`, without an error.
    """

    prefix = "hosted_vllm"
    title = "vLLM"
    key_variables = ("HOSTED_VLLM_API_KEY", "VLLM_API_KEY")
    base_variables = ("HOSTED_VLLM_API_BASE",)
    needs_key = False
    options = frozenset(
        {
            "cache_salt",
            "chat_template_kwargs",
            "instruction",
            "max_tokens_per_doc",
            "max_tokens_per_query",
            "mm_processor_kwargs",
            "padding",
            "priority",
            "request_id",
            "truncate_prompt_tokens",
            "truncation_side",
            "use_activation",
        }
    )
    usage_paths = TOTAL_USAGE
