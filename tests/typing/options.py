"""Checked by mypy and pyright, never run: every option by its name, and the values that it cannot have."""

import httpx
from pydantic import SecretStr
from typing_extensions import assert_type

from anyrerank import Budget, MemoryCache, Reranker, RerankResponse, Router, langchain, llama_index, rerank
from anyrerank.hooks import CallEvent
from anyrerank.testing import Exchange, FakeCall, FakeProvider, StubRequest, StubServer, fake_provider

COHERE = "cohere/rerank-v3.5"


def hook(event: CallEvent) -> None: ...


def guardrail(query: str) -> str:
    return query


def of_a_call(strings: list[str], metadata: dict[str, str]) -> None:
    rerank(
        COHERE,
        "query",
        strings,
        top_n=3,
        rank_fields=["title", "text"],
        return_documents=False,
        max_chunks_per_doc=10,
        max_tokens_per_doc=512,
        instruction="Find the newest.",
        truncate="END",
        priority=1,
        score_threshold=0.5,
        score_mode="unit",
        user="ann",
        metadata=metadata,
        guardrails=[guardrail],
        hooks=[hook],
        cache=MemoryCache(),
        budget=Budget(1.0, "1d"),
        user_budget=Budget(0.1, "1d"),
        timeout=20,
        max_retries=3,
        batch_size=100,
        max_concurrency=8,
        dedupe=True,
        allow_split=True,
        on_error="passthrough",
        fuse="rrf",
        extra_body={"return_documents": False},
        drop_params=True,
    )
    rerank(COHERE, "query", strings, num_retries=3, timeout="20", raw_scores=True, service_tier="default")
    rerank(COHERE, "query", strings, timeout=httpx.Timeout(5.0), fuse=None, cache=None)
    rerank(COHERE, "query", strings, top_n=2.5)  # type: ignore[arg-type]
    rerank(COHERE, "query", strings, rank_fields=[1])  # type: ignore[list-item]
    rerank(COHERE, "query", strings, score_threshold="high")  # type: ignore[arg-type]
    rerank(COHERE, "query", strings, on_error="ignore")  # type: ignore[arg-type]
    rerank(COHERE, "query", strings, fuse="borda")  # type: ignore[arg-type]
    rerank(COHERE, "query", strings, max_retries="many")  # type: ignore[arg-type]
    rerank(COHERE, "query", strings, guardrails=[len])  # type: ignore[list-item]
    rerank(COHERE, "query", strings, cache="scores.db")  # type: ignore[arg-type]
    rerank(COHERE, "query", strings, budget=1.0)  # type: ignore[arg-type]
    rerank(COHERE, "query", strings, top_k=3)  # type: ignore[call-arg]


def of_a_connection(strings: list[str], own: type[FakeProvider]) -> None:
    Reranker(
        "rerank-v3.5",
        custom_llm_provider="cohere",
        api_key="key",
        api_base="http://localhost:8000",
        headers={"x-team": "search"},
        http_client=httpx.Client(),
        fallbacks=["voyage/rerank-2.5", Reranker("local/lexical")],
        input_cost_per_query=0.002,
        input_cost_per_token=0.0,
        prices="prices.json",
    )
    Reranker(COHERE, api_key=SecretStr("key"), base_url="http://localhost:8000", extra_headers={"x-team": "search"})
    Reranker("bedrock/cohere.rerank-v3-5:0", aws_region_name="us-west-2", aws_secret_access_key=SecretStr("key"))
    Reranker("fake/any", custom_llm_provider=own)
    Reranker(COHERE, custom_llm_provider=own(connection=3))  # type: ignore[arg-type]
    Reranker(COHERE, api_key=3)  # type: ignore[arg-type]
    Reranker(COHERE, headers=["x-team"])  # type: ignore[arg-type]
    Reranker(COHERE, fallbacks=[3])  # type: ignore[list-item]
    Reranker(COHERE, http_client="http://localhost")  # type: ignore[arg-type]
    Reranker(COHERE, api_kye="key")  # type: ignore[call-arg]
    Reranker(COHERE).rerank("query", strings, api_key="key")  # type: ignore[call-arg]


def of_the_adapters(own: type[FakeProvider]) -> None:
    langchain.AnyRerank(model=COHERE, api_key="key", api_base="http://localhost:8000", top_n=3, max_tokens_per_doc=512)
    langchain.AnyRerank(model=COHERE, api_key=SecretStr("key"), fallbacks=["local/lexical"], cache=MemoryCache())
    langchain.AnyRerank(reranker=Reranker(COHERE))
    langchain.AnyRerank(model=COHERE, base_url="http://localhost:8000")
    langchain.AnyRerank(model="fake/any", custom_llm_provider=own)
    langchain.AnyRerank(model=COHERE, num_retries=3)
    langchain.AnyRerank(model=COHERE, extra_headers={"x-team": "search"})
    langchain.AnyRerank(model="bedrock/cohere.rerank-v3-5:0", aws_region_name="us-west-2")
    langchain.AnyRerank(model=COHERE, top_n="3")  # type: ignore[arg-type]
    langchain.AnyRerank(model=COHERE, score_mode="percent")  # type: ignore[arg-type]
    langchain.AnyRerank(model=COHERE, top_k=3)  # type: ignore[call-arg]
    llama_index.AnyRerank(model=COHERE, api_key="key", api_base="http://localhost:8000", top_n=3, instruction="Find.")
    llama_index.AnyRerank(model="fake/any", provider=own)
    llama_index.AnyRerank(reranker=Router([]))
    llama_index.AnyRerank(model=COHERE, base_url="http://localhost:8000")
    llama_index.AnyRerank(model="fake/any", custom_llm_provider=own)
    llama_index.AnyRerank(model=COHERE, top_n="3")  # type: ignore[arg-type]
    llama_index.AnyRerank(model=COHERE, top_k=3)  # type: ignore[call-arg]


def of_a_router(strings: list[str]) -> None:
    entries = [{"model_name": "best", "litellm_params": {"model": COHERE, "rpm": 100}}]
    router = Router(
        entries,
        routing_strategy="least-busy",
        fallbacks=[{"best": ["spare"]}],
        default_fallbacks=["spare"],
        num_retries=3,
        allowed_fails=2,
        cooldown_time=30.0,
        timeout=20,
        cache=MemoryCache(),
    )
    assert_type(router.rerank("best", "query", strings, top_n=3, user="ann"), RerankResponse)
    router.rerank("best", "query", strings, top_n="3")  # type: ignore[arg-type]
    router.rerank("best", "query", strings, top_k=3)  # type: ignore[call-arg]
    Router("config.yaml")  # type: ignore[arg-type]


def of_testing() -> None:
    fake = fake_provider({"text": 0.5})
    assert_type(fake, type[FakeProvider])
    assert_type(fake.calls, list[FakeCall])
    fake_provider(lambda query, text: float(len(query) + len(text)))
    fake_provider([0.5])  # type: ignore[arg-type]
    fake.fail(ValueError)  # type: ignore[arg-type]
    with StubServer(handler=Exchange.rank) as server:
        assert_type(server, StubServer)
        assert_type(server.url, str)
        assert_type(server.requests, list[StubRequest])
        server.fail(503, times=2, headers={"retry-after": "1"})
        server.fail("hang")
        server.fail("explode")  # type: ignore[arg-type]
