"""Providers that need no code: each is a set of names and values for the shared dialect."""

from __future__ import annotations

from types import MappingProxyType

from anyrerank.providers._base import COHERE_USAGE, PROMPT_USAGE, TOTAL_USAGE, CohereStyle, Provider


class CohereCompatible(CohereStyle):
    """Any server with Cohere's rerank API. Usage is read in Cohere's and in Jina's form."""

    prefix = "cohere_compatible"
    title = "Cohere-compatible server"
    key_variables = ("COHERE_COMPATIBLE_API_KEY",)
    base_variables = ("COHERE_COMPATIBLE_API_BASE",)
    needs_key = False
    options = frozenset({"instruction", "max_chunks_per_doc", "priority", "relevant_spans", "truncate"})
    usage_paths = MappingProxyType(
        {
            "search_units": COHERE_USAGE["search_units"],
            "total_tokens": (*COHERE_USAGE["total_tokens"], *PROMPT_USAGE["total_tokens"]),
            "input_tokens": (*COHERE_USAGE["input_tokens"], *PROMPT_USAGE["input_tokens"]),
            "output_tokens": COHERE_USAGE["output_tokens"],
        }
    )


class JinaCompatible(CohereStyle):
    """Any server with Jina's rerank API."""

    prefix = "jina_compatible"
    title = "Jina-compatible server"
    key_variables = ("JINA_COMPATIBLE_API_KEY",)
    base_variables = ("JINA_COMPATIBLE_API_BASE",)
    needs_key = False
    options = frozenset({"instruction", "truncate"})


class Contextual(CohereStyle):
    """The API reports no usage (https://docs.contextual.ai/api-reference/rerank/rerank)."""

    prefix = "contextual"
    title = "Contextual AI"
    key_page = "https://app.contextual.ai"
    key_variables = ("CONTEXTUAL_API_KEY",)
    base_variables = ("CONTEXTUAL_API_BASE",)
    default_base = "https://api.contextual.ai/v1"
    options = frozenset({"instruction"})
    scale = "unit"
    usage_paths = MappingProxyType({})


class Isaacus(CohereStyle):
    """The server splits long texts into chunks (https://docs.isaacus.com/api-reference/rerankings)."""

    prefix = "isaacus"
    title = "Isaacus"
    key_page = "https://platform.isaacus.com"
    key_variables = ("ISAACUS_API_KEY",)
    base_variables = ("ISAACUS_API_BASE",)
    default_base = "https://api.isaacus.com/v1"
    options = frozenset({"chunking_options", "is_iql", "scoring_method"})
    scale = "unit"
    operation = "rerankings"
    documents_key = "texts"
    score_key = "score"
    usage_paths = MappingProxyType({"total_tokens": ("usage.input_tokens",), "input_tokens": ("usage.input_tokens",)})


class LocalAi(CohereStyle):
    """A LocalAI server (https://localai.io/features/reranker)."""

    prefix = "localai"
    title = "LocalAI"
    key_variables = ("LOCALAI_API_KEY",)
    base_variables = ("LOCALAI_API_BASE",)
    needs_key = False


class Mixedbread(CohereStyle):
    """Mixedbread's API (https://www.mixedbread.com/api-reference/endpoints/reranking)."""

    prefix = "mixedbread"
    title = "Mixedbread"
    key_page = "https://platform.mixedbread.com/platform?next=api-keys"
    key_variables = ("MXBAI_API_KEY", "MIXEDBREAD_API_KEY")
    base_variables = ("MIXEDBREAD_API_BASE",)
    default_base = "https://api.mixedbread.com/v1"
    options = frozenset({"rewrite_query"})
    scale = "unit"
    operation = "reranking"
    documents_key = "input"
    top_n_key = "top_k"
    top_n_required = True
    constants = MappingProxyType({"return_input": False})
    rows = "data"
    score_key = "score"


class Novita(CohereStyle):
    """Novita AI's API (https://novita.ai/docs/api-reference/model-apis-llm-create-rerank)."""

    prefix = "novita"
    title = "Novita AI"
    key_page = "https://novita.ai/settings/key-management"
    key_variables = ("NOVITA_API_KEY",)
    base_variables = ("NOVITA_API_BASE",)
    default_base = "https://api.novita.ai/openai/v1"
    root = "/openai/v1"


class OpenRouter(CohereStyle):
    """`provider` selects among the providers of a model (https://openrouter.ai/docs/api/api-reference/rerank)."""

    prefix = "openrouter"
    title = "OpenRouter"
    key_page = "https://openrouter.ai/settings/keys"
    key_variables = ("OPENROUTER_API_KEY",)
    base_variables = ("OPENROUTER_API_BASE",)
    default_base = "https://openrouter.ai/api/v1"
    options = frozenset({"provider"})
    root = "/api/v1"
    cost_paths = ("usage.cost",)
    usage_paths = MappingProxyType(
        {
            "search_units": ("usage.search_units",),
            "total_tokens": ("usage.total_tokens",),
            "input_tokens": ("usage.total_tokens",),
        }
    )


class Scaleway(CohereStyle):
    """Scores of embedding models are cosines.

    https://www.scaleway.com/en/docs/generative-apis/api-cli/using-rerank-api
    """

    prefix = "scaleway"
    title = "Scaleway"
    key_page = "https://console.scaleway.com/iam/api-keys"
    key_variables = ("SCW_SECRET_KEY",)
    base_variables = ("SCALEWAY_API_BASE",)
    default_base = "https://api.scaleway.ai/v1"
    usage_paths = TOTAL_USAGE


class Sglang(CohereStyle):
    """An SGLang server (https://docs.sglang.ai). Older ones ignore `top_n`; it is always applied here too."""

    prefix = "sglang"
    title = "SGLang"
    key_variables = ("SGLANG_API_KEY",)
    base_variables = ("SGLANG_API_BASE",)
    needs_key = False
    options = frozenset({"instruction"})
    option_names = MappingProxyType({"instruction": "instruct"})
    rows = ""
    score_key = "score"
    usage_paths = MappingProxyType({})


class SiliconFlow(CohereStyle):
    """`instruction` is for Qwen3 rerankers, `max_chunks_per_doc` and `overlap_tokens` are for BGE and BCE rerankers.

    https://docs.siliconflow.com/en/api-reference/rerank/create-rerank. Accounts outside China have another base URL.
    """

    prefix = "siliconflow"
    title = "SiliconFlow"
    key_page = "https://cloud.siliconflow.cn/account/ak"
    key_variables = ("SILICONFLOW_API_KEY",)
    base_variables = ("SILICONFLOW_API_BASE",)
    default_base = "https://api.siliconflow.cn/v1"
    options = frozenset({"instruction", "max_chunks_per_doc", "overlap_tokens"})
    usage_paths = MappingProxyType(
        {
            "input_tokens": ("tokens.input_tokens", "meta.tokens.input_tokens"),
            "output_tokens": ("tokens.output_tokens", "meta.tokens.output_tokens"),
        }
    )


class Xinference(CohereStyle):
    """The model is its uid (https://inference.readthedocs.io/en/latest/models/model_abilities/rerank.html)."""

    prefix = "xinference"
    title = "Xinference"
    key_variables = ("XINFERENCE_API_KEY",)
    base_variables = ("XINFERENCE_API_BASE",)
    needs_key = False
    options = frozenset({"max_chunks_per_doc"})
    usage_paths = COHERE_USAGE


class ZeroEntropy(CohereStyle):
    """ZeroEntropy's API (https://docs.zeroentropy.dev/api-reference/models/rerank)."""

    prefix = "zeroentropy"
    title = "ZeroEntropy"
    key_page = "https://dashboard.zeroentropy.dev"
    key_variables = ("ZEROENTROPY_API_KEY",)
    base_variables = ("ZEROENTROPY_API_BASE",)
    default_base = "https://api.zeroentropy.dev/v1"
    scale = "unit"
    operation = "models/rerank"
    usage_paths = MappingProxyType({"total_tokens": ("total_tokens",), "input_tokens": ("total_tokens",)})


ROWS: dict[str, type[Provider]] = {
    row.prefix: row
    for row in (
        CohereCompatible,
        Contextual,
        Isaacus,
        JinaCompatible,
        LocalAi,
        Mixedbread,
        Novita,
        OpenRouter,
        Scaleway,
        Sglang,
        SiliconFlow,
        Xinference,
        ZeroEntropy,
    )
}
