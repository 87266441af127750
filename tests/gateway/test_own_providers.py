"""Each of our own providers that speaks to a server can call the gateway, with nothing but its base URL set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank import BadRequestError, NotFoundError, RerankError, arerank, rerank
from anyrerank.providers import load, names

QUERY = "Which planet is red?"
DOCUMENTS = ["Venus is hot", "Mars is the red planet", " ", "Jupiter is large"]

BASES = {
    "cohere": "/cohere",
    "cohere_compatible": "",
    "dashscope": "",
    "hosted_vllm": "",
    "huggingface": "/tei/rerank-model",
    "infinity": "/infinity",
    "jina_ai": "/jina/v1",
    "jina_compatible": "",
    "litellm_proxy": "",
    "llama_cpp": "/reranking",
    "localai": "",
    "mixedbread": "/mixedbread",
    "nvidia_nim": "",
    "openrouter": "",
    "siliconflow": "",
    "together_ai": "/v1",
    "voyage": "/voyage/v1",
    "xinference": "",
}
"""The path that a provider needs in its base URL."""

NOT_SERVED = frozenset(
    {
        "azure_ai", "bedrock", "cloudflare", "contextual", "deepinfra", "elasticsearch", "fireworks_ai", "isaacus",
        "novita", "pinecone", "scaleway", "sglang", "vertex_ai", "watsonx", "zeroentropy",
    }
)  # fmt: skip
"""Providers whose dialect the gateway does not speak."""

each_provider = pytest.mark.parametrize("provider", sorted(BASES))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(gateway_of([entry("rerank-model"), entry("acme/other-model")])) as address:
        yield address


def test_every_provider_over_http_is_decided_about() -> None:
    over_http = {name for name in names() if load(name).default_base or load(name).base_variables}
    assert over_http == BASES.keys() | NOT_SERVED
    assert not BASES.keys() & NOT_SERVED


@each_provider
def test_provider_ranks_through_the_gateway(provider: str, url: str) -> None:
    base = f"{url}{BASES[provider]}"
    answer = rerank(f"{provider}/rerank-model", QUERY, DOCUMENTS, api_base=base, api_key=MASTER_KEY, max_retries=0)

    assert [result.index for result in answer.results] == [1, 0, 3, 2]
    assert answer.results[0].relevance_score is not None
    assert answer.results[0].document == {"text": "Mars is the red planet"}


@each_provider
async def test_provider_gets_as_many_results_as_it_asks_for(provider: str, url: str) -> None:
    base = f"{url}{BASES[provider]}"
    answer = await arerank(
        f"{provider}/rerank-model", QUERY, DOCUMENTS, top_n=1, api_base=base, api_key=MASTER_KEY, max_retries=0
    )
    assert [result.index for result in answer.results] == [1]


@each_provider
def test_provider_learns_what_was_wrong(provider: str, url: str) -> None:
    base, model = f"{url}{BASES[provider]}".replace("rerank-model", "unknown"), f"{provider}/unknown"
    with pytest.raises(RerankError) as caught:
        rerank(model, QUERY, DOCUMENTS, api_base=base, api_key=MASTER_KEY, max_retries=0)

    assert isinstance(caught.value, BadRequestError | NotFoundError)
    assert "there is no model 'unknown'" in caught.value.message


@each_provider
def test_provider_learns_that_its_key_is_wrong(provider: str, url: str) -> None:
    with pytest.raises(RerankError) as caught:
        rerank(
            f"{provider}/rerank-model", QUERY, DOCUMENTS, api_base=f"{url}{BASES[provider]}", api_key="sk-wrong",
            max_retries=0,
        )  # fmt: skip
    assert caught.value.status_code == 401
