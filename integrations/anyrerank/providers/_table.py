"""Back ends that need no code: each is a row of names and values on the shared dialect."""

from __future__ import annotations

from types import MappingProxyType

from anyrerank.providers._base import COHERE_USED, PROMPT_USED, TOTAL_USED, CohereStyle, Provider


class CohereCompatible(CohereStyle):
    """Any server that speaks Cohere's rerank API; usage is read as Cohere or as Jina write it."""

    prefix = "cohere_compatible"
    title = "Cohere-compatible server"
    key_variables = ("COHERE_COMPATIBLE_API_KEY",)
    base_variables = ("COHERE_COMPATIBLE_API_BASE",)
    needs_key = False
    options = frozenset({"instruction", "max_chunks_per_doc", "max_tokens_per_doc", "priority", "truncate"})
    used = MappingProxyType(
        {
            "search_units": COHERE_USED["search_units"],
            "total_tokens": (*COHERE_USED["total_tokens"], *PROMPT_USED["total_tokens"]),
            "input_tokens": (*COHERE_USED["input_tokens"], *PROMPT_USED["input_tokens"]),
            "output_tokens": COHERE_USED["output_tokens"],
        }
    )


class JinaCompatible(CohereStyle):
    """Any server that speaks Jina's rerank API."""

    prefix = "jina_compatible"
    title = "Jina-compatible server"
    key_variables = ("JINA_COMPATIBLE_API_KEY",)
    base_variables = ("JINA_COMPATIBLE_API_BASE",)
    needs_key = False
    options = frozenset({"instruction", "truncate"})


class Contextual(CohereStyle):
    """https://docs.contextual.ai/api-reference/rerank/rerank. Reports no usage."""

    prefix = "contextual"
    title = "Contextual AI"
    key_variables = ("CONTEXTUAL_API_KEY",)
    base_variables = ("CONTEXTUAL_API_BASE",)
    default_base = "https://api.contextual.ai/v1"
    options = frozenset({"instruction"})
    scale = "unit"
    used = MappingProxyType({})


class Isaacus(CohereStyle):
    """https://docs.isaacus.com/api-reference/rerankings. Long texts are chunked by the server."""

    prefix = "isaacus"
    title = "Isaacus"
    key_variables = ("ISAACUS_API_KEY",)
    base_variables = ("ISAACUS_API_BASE",)
    default_base = "https://api.isaacus.com/v1"
    options = frozenset({"chunking_options", "is_iql", "scoring_method"})
    scale = "unit"
    operation = "rerankings"
    documents_key = "texts"
    score_key = "score"
    used = MappingProxyType({"total_tokens": ("usage.input_tokens",), "input_tokens": ("usage.input_tokens",)})


class LocalAi(CohereStyle):
    """https://localai.io/features/reranker."""

    prefix = "localai"
    title = "LocalAI"
    key_variables = ("LOCALAI_API_KEY",)
    base_variables = ("LOCALAI_API_BASE",)
    needs_key = False


class Mixedbread(CohereStyle):
    """https://www.mixedbread.com/api-reference/endpoints/reranking."""

    prefix = "mixedbread"
    title = "Mixedbread"
    key_variables = ("MXBAI_API_KEY", "MIXEDBREAD_API_KEY")
    base_variables = ("MIXEDBREAD_API_BASE",)
    default_base = "https://api.mixedbread.com/v1"
    options = frozenset({"rewrite_query"})
    scale = "unit"
    operation = "reranking"
    documents_key = "input"
    top_n_key = "top_k"
    top_n_needed = True
    fixed = MappingProxyType({"return_input": False})
    rows = "data"
    score_key = "score"


class Novita(CohereStyle):
    """https://novita.ai/docs/api-reference/model-apis-llm-create-rerank."""

    prefix = "novita"
    title = "Novita AI"
    key_variables = ("NOVITA_API_KEY",)
    base_variables = ("NOVITA_API_BASE",)
    default_base = "https://api.novita.ai/openai/v1"
    root = "/openai/v1"


class OpenRouter(CohereStyle):
    """https://openrouter.ai/docs/api/api-reference/rerank. `provider` says which of the providers behind it to use."""

    prefix = "openrouter"
    title = "OpenRouter"
    key_variables = ("OPENROUTER_API_KEY",)
    base_variables = ("OPENROUTER_API_BASE",)
    default_base = "https://openrouter.ai/api/v1"
    options = frozenset({"provider"})
    root = "/api/v1"
    cost_at = ("usage.cost",)
    used = MappingProxyType(
        {
            "search_units": ("usage.search_units",),
            "total_tokens": ("usage.total_tokens",),
            "input_tokens": ("usage.total_tokens",),
        }
    )


class Scaleway(CohereStyle):
    """https://www.scaleway.com/en/docs/generative-apis/api-cli/using-rerank-api. An embedding model gives cosines."""

    prefix = "scaleway"
    title = "Scaleway"
    key_variables = ("SCW_SECRET_KEY",)
    base_variables = ("SCALEWAY_API_BASE",)
    default_base = "https://api.scaleway.ai/v1"
    used = TOTAL_USED


class Sglang(CohereStyle):
    """https://docs.sglang.ai. The answer is the list itself; older servers ignore `top_n`, which costs nothing here."""

    prefix = "sglang"
    title = "SGLang"
    key_variables = ("SGLANG_API_KEY",)
    base_variables = ("SGLANG_API_BASE",)
    needs_key = False
    options = frozenset({"instruction"})
    spelling = MappingProxyType({"instruction": "instruct"})
    rows = ""
    score_key = "score"
    used = MappingProxyType({})


class SiliconFlow(CohereStyle):
    """https://docs.siliconflow.com/en/api-reference/rerank/create-rerank. Outside China the base URL is another one.

    `instruction` is for Qwen3 rerankers; `max_chunks_per_doc` and `overlap_tokens` are for those of BGE and BCE.
    """

    prefix = "siliconflow"
    title = "SiliconFlow"
    key_variables = ("SILICONFLOW_API_KEY",)
    base_variables = ("SILICONFLOW_API_BASE",)
    default_base = "https://api.siliconflow.cn/v1"
    options = frozenset({"instruction", "max_chunks_per_doc", "overlap_tokens"})
    used = MappingProxyType(
        {
            "input_tokens": ("tokens.input_tokens", "meta.tokens.input_tokens"),
            "output_tokens": ("tokens.output_tokens", "meta.tokens.output_tokens"),
        }
    )


class Xinference(CohereStyle):
    """https://inference.readthedocs.io/en/latest/models/model_abilities/rerank.html. The model is its uid."""

    prefix = "xinference"
    title = "Xinference"
    key_variables = ("XINFERENCE_API_KEY",)
    base_variables = ("XINFERENCE_API_BASE",)
    needs_key = False
    options = frozenset({"max_chunks_per_doc"})
    used = COHERE_USED


class ZeroEntropy(CohereStyle):
    """https://docs.zeroentropy.dev/api-reference/models/rerank."""

    prefix = "zeroentropy"
    title = "ZeroEntropy"
    key_variables = ("ZEROENTROPY_API_KEY",)
    base_variables = ("ZEROENTROPY_API_BASE",)
    default_base = "https://api.zeroentropy.dev/v1"
    scale = "unit"
    operation = "models/rerank"
    used = MappingProxyType({"total_tokens": ("total_tokens",), "input_tokens": ("total_tokens",)})


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
