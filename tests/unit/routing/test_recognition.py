"""Which entries of a `model_list` are rerankers, from a file and from a list alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY

from anyrerank import ConfigurationError, Router
from anyrerank._core.routing.recognition import select_rerankers

GOOD = {"model_name": "good", "litellm_params": {"model": "local/lexical"}}
WAYS = ["list", "file"]


def entry(model: str, mode: str | None = None, **params: Any) -> dict[str, Any]:
    info = {} if mode is None else {"model_info": {"mode": mode}}
    return {"model_name": "x", "litellm_params": {"model": model, **params}, **info}


def router(way: str, folder: Path, *entries: Any, **settings: Any) -> Router:
    """A router made in one of the two ways."""
    if way == "list":
        return Router(entries, **settings)
    path = folder / "config.yaml"
    path.write_text(json.dumps({"model_list": entries, "router_settings": settings}), encoding="utf-8")
    return Router.from_config(path)


CHAT = [
    "azure_ai/MAI-DS-R1",
    "azure_ai/ministral-3b",
    "azure_ai/model-router",
    "azure_ai/Cohere-parse-v5",
    "azure_ai/codex-mini",
    "bedrock/ai21.jamba-1-5-large-v1:0",
    "bedrock/twelvelabs.pegasus-1-2-v1:0",
    "bedrock/stability.sd3-5-large-v1:0",
    "bedrock/us-gov-east-1/meta.llama3-8b",
    "fireworks_ai/accounts/fireworks/models/devstral-small-24b",
    "fireworks_ai/accounts/fireworks/models/minimax-m2",
    "fireworks_ai/accounts/fireworks/models/fireworks-asr-large",
    "nvidia_nim/nvidia/nemotron-nano-9b",
    "novita/baidu/ernie-4.5-vl-424b-a47b",
    "openrouter/openai/o3",
    "openrouter/x/y-32b:free",
    "openrouter/perplexity/sonar-pro",
    "together_ai/together-ai-21.1b-41b",
    "vertex_ai/chirp_2",
    "vertex_ai/search_api",
    "voyage/voyage-finance-2",
    "voyage/voyage-law-2",
    "voyage/voyage-multimodal-3.5",
    "watsonx/google/flan-t5-xl-3b",
]
"""Names in LiteLLM's list of models at providers that have rerankers too."""


@pytest.mark.parametrize("name", CHAT)
def test_chat_model_or_embedding_by_its_name_is_left_out(name: str) -> None:
    found, left_out = select_rerankers([entry(name), entry("cohere/rerank-v3.5")])
    assert (len(found), len(left_out)) == (1, 1)


@pytest.mark.parametrize("name", ["nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2", "deepinfra/Qwen/Qwen3-Reranker-8B"])
def test_reranker_with_a_name_of_a_language_model_is_served(name: str) -> None:
    assert select_rerankers([entry(name)])[1] == ()


OTHERS: dict[str, dict[str, Any]] = {
    "another provider": entry("openai/gpt-4o"),
    "no provider": entry("gpt-4o", api_key=KEY),
    "an empty model": entry("azure/"),
    "another provider by name": entry("gpt", custom_llm_provider="openai"),
    "a chat model of Bedrock": entry("bedrock/anthropic.claude-3-sonnet-20240229-v1:0", aws_region_name="us-east-1"),
    "a chat model of Cohere": entry("cohere/command-r-plus"),
    "a chat model of Cohere in LiteLLM's words": entry("cohere_chat/command-r"),
    "a chat model of Vertex": entry("vertex_ai/gemini-1.5-pro", vertex_project="p"),
    "a chat model of NVIDIA": entry("nvidia_nim/meta/llama3-70b-instruct"),
    "embeddings": entry("voyage/voyage-3-large"),
    "more embeddings": entry("jina_ai/jina-embeddings-v3"),
    "embeddings of a server": entry("infinity/BAAI/bge-small-en-v1.5", api_base="http://own.test"),
    "images": entry("vertex_ai/imagegeneration@006"),
    "a parameter of a chat model": entry("hosted_vllm/mine", max_tokens=100, api_base="http://own.test"),
    "more parameters of a chat model": entry("azure_ai/mine", temperature=0.2, top_p=1, api_base="http://own.test"),
    "wildcards of others": {"model_name": "*", "litellm_params": {"model": "openai/*"}},
    "another mode": entry("cohere/rerank-v3.5", mode="chat"),
    "a variable that is not set": entry("cohere/rerank-v3.5", api_key="os.environ/NOT_SET"),
    "another variable that is not set": {**entry("cohere/rerank-v3.5"), "model_info": {"id": "os.environ/NOT_SET"}},
    "no params": {"model_name": "x"},
    "params that are null": {"model_name": "x", "litellm_params": None},
    "a wildcard under a plain name": entry("cohere/*"),
    "a blocked model": {**entry("cohere/rerank-v3.5"), "model_info": {"mode": "rerank", "blocked": True}},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", list(OTHERS.values()), ids=list(OTHERS))
def test_what_is_not_served_is_left_out_with_one_warning(
    given: dict[str, Any], way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert router(way, tmp_path, given, GOOD).model_names == ("good",)
    (record,) = caplog.records
    assert "left out of model_list: " in record.getMessage()
    assert f"({given['model_name']}): " in record.getMessage()


RERANKERS: dict[str, tuple[dict[str, Any], str]] = {
    "a known name": (entry("rerank-english-v3.0"), "cohere/rerank-english-v3.0"),
    "a known name of Jina": (entry("jina-reranker-v2-base-multilingual"), "jina_ai/jina-reranker-v2-base-multilingual"),
    "a name that says so": (entry("nvidia_nim/nvidia/llama-3_2-nv-rerankqa-1b-v2"), ""),
    "a reranker named after a chat model": (entry("together_ai/Salesforce/Llama-Rank-V1"), ""),
    "embeddings that rank": (entry("scaleway/qwen3-embedding-8b"), ""),
    "a name that says nothing": (entry("hosted_vllm/mine", api_base="http://own.test"), ""),
    "a chat model that says so": (entry("hosted_vllm/my-llama", mode="rerank", api_base="http://own.test"), ""),
    "Cohere in LiteLLM's words": (entry("cohere_chat/rerank-v3.5"), "cohere/rerank-v3.5"),
    "the same with its mode": (entry("cohere_chat/rerank-v3.5", mode="rerank"), "cohere/rerank-v3.5"),
    "the provider apart": (entry("rerank-v3.5", custom_llm_provider="cohere"), "cohere/rerank-v3.5"),
    "what is switched off": (entry("cohere/rerank-v3.5", merge_reasoning=False, stop=None), ""),
    "what is empty": (entry("cohere/rerank-v3.5", guardrails=[], model_info={}, watsonx_region_name=""), ""),
    "Cohere in LiteLLM's words, apart": (
        entry("rerank-v3.5", mode="rerank", custom_llm_provider="cohere_chat"),
        "cohere/rerank-v3.5",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("given", "name"), list(RERANKERS.values()), ids=list(RERANKERS))
def test_a_reranker_is_served(
    given: dict[str, Any], name: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (status,) = router(way, tmp_path, given).deployment_status()
    assert status.deployment == (name or given["litellm_params"]["model"])
    assert caplog.records == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "given",
    [entry("hosted_vllm/mine", mode="rerank", max_tokens=1), entry("cohere/rerank-v3.5", wieght=1)],
    ids=["says that it is a reranker", "a misspelt parameter"],
)
def test_a_wrong_reranker_is_refused_although_another_is_good(given: dict[str, Any], way: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="litellm_params has no"):
        router(way, tmp_path, given, GOOD)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("coheer/rerank-v3.5", "there is no provider coheer; did you mean cohere?"),
        ("Voyage/rerank-2.5", "there is no provider Voyage; did you mean voyage?"),
        ("hosted-vllm/BAAI/bge-reranker-v2-m3", "did you mean hosted_vllm?"),
    ],
)
def test_a_reranker_of_a_misspelt_provider_is_refused_although_another_is_good(
    model: str, message: str, way: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        router(way, tmp_path, GOOD, entry(model))
    assert caught.value.message.endswith(message)
    assert " (x): " in caught.value.message


def test_a_reranker_of_a_provider_by_another_name_is_left_out_with_a_hint(caplog: pytest.LogCaptureFixture) -> None:
    Router([GOOD, entry("nvidia/llama-nemotron-rerank-1b-v2")])
    assert "there is no reranker of nvidia (did you mean nvidia_nim?)" in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_names_that_are_left_out_are_left_out_of_the_settings(way: str, tmp_path: Path) -> None:
    made = router(
        way,
        tmp_path,
        {**OTHERS["no provider"], "model_name": "gpt-4o"},
        {**OTHERS["no provider"], "model_name": "claude"},
        GOOD,
        fallbacks=[{"gpt-4o": ["claude"]}, {"good": ["gpt-4o"]}],
        default_fallbacks=["gpt-4o"],
        model_group_alias={"gpt-4": "gpt-4o", "better": "good"},
    )
    assert made.model_names == ("good", "better")
    assert made.rerank("better", QUERY, DOCUMENTS).model == "lexical"


def test_fallbacks_of_every_name_stay_although_a_wildcard_for_everything_is_left_out() -> None:
    entries = [OTHERS["wildcards of others"], {**RERANKERS["a known name"][0], "model_name": "r"}, GOOD]
    made = Router(entries, fallbacks=[{"*": ["good"]}])
    assert made.rerank("r", QUERY, DOCUMENTS).model == "lexical"


def test_positions_in_a_list_count_what_is_left_out() -> None:
    with pytest.raises(ConfigurationError, match=r"model_list\[1\] \(x\): weight "):
        Router([OTHERS["no provider"], entry("cohere/rerank-v3.5", weight=-1)])


@pytest.mark.parametrize("way", WAYS)
def test_a_list_without_any_reranker_is_refused_with_the_reasons(way: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no entry of model_list is for reranking .* of openai"):
        router(way, tmp_path, OTHERS["another provider"])


def test_a_hidden_alias_can_be_asked_and_is_not_listed() -> None:
    made = Router([GOOD], model_group_alias={"a": {"model": "good", "hidden": True}, "b": {"model": "good"}})
    assert made.model_names == ("good", "b")
    assert made.rerank("a", QUERY, DOCUMENTS).model_group == "good"
