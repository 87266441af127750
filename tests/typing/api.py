"""Checked by mypy, never run: the types that users see."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import SecretStr
from typing_extensions import assert_type

from anyrerank import (
    Attempt,
    MemoryCache,
    Meta,
    Reranker,
    RerankError,
    RerankResponse,
    RerankResult,
    Results,
    Router,
    arerank,
    rerank,
)
from anyrerank.hooks import CallEvent

COHERE = "cohere/rerank-v3.5"


def results(response: RerankResponse) -> None:
    assert_type(response.results, Results)
    assert_type(response.results[0], RerankResult)
    assert_type(response.results[:3], list[RerankResult])
    assert_type(response.results[0].index, int)
    assert_type(response.results[0].relevance_score, float | None)
    assert_type(response.results[0].document, Mapping[str, Any] | None)
    assert_type([result.index for result in response.results], list[int])
    assert_type(len(response.results), int)
    assert_type(response.meta, Meta)
    assert_type(response.attempts, tuple[Attempt, ...])
    assert_type(response.cost, float | None)
    assert_type(response.degraded, bool)
    assert_type(response.to_cohere(), dict[str, Any])
    assert_type(response["results"], Any)
    response.results[0].index = 3  # type: ignore[misc]


def functions(strings: list[str], mappings: list[dict[str, str]], mixed: tuple[str | dict[str, Any], ...]) -> None:
    assert_type(rerank(COHERE, "query", strings), RerankResponse)
    assert_type(rerank(model=COHERE, query="query", documents=mappings, top_n=3), RerankResponse)
    rerank(COHERE, "query", mixed, score_mode="unit", fuse="rrf", on_error="passthrough", fallbacks=[Reranker(COHERE)])
    rerank(COHERE, "query", strings, http_client=httpx.Client(), options={"anything_else": 1})
    rerank(COHERE, "query", strings, "cohere", 3, ["title"], False, 5, 100)
    rerank(COHERE, "query", strings, anything_else=1)  # type: ignore[call-arg]
    rerank(COHERE, "query", [1, 2])  # type: ignore[list-item]
    rerank(COHERE, "query", strings, top_n="3")  # type: ignore[arg-type]
    rerank(COHERE, "query", strings, score_mode="percent")  # type: ignore[arg-type]
    rerank(COHERE, "query")  # type: ignore[call-arg]


def connection(strings: list[str]) -> None:
    rerank(COHERE, "query", strings, api_key="key", api_base="https://host.test", timeout="30")
    rerank(COHERE, "query", strings, api_key=SecretStr("key"), base_url="https://host.test", timeout=httpx.Timeout(30))
    rerank(COHERE, "query", strings, extra_headers={"x-team": "search"}, num_retries=1, timeout=None)
    rerank("bedrock/m", "query", strings, aws_region_name="eu-west-1", aws_secret_access_key=SecretStr("key"))
    rerank("hosted_vllm/m", "query", strings, score_mode="unit", score_scale="logit")
    rerank("hosted_vllm/m", "query", strings, score_scale="percent")  # type: ignore[arg-type]
    rerank(COHERE, "query", strings, api_key=5)  # type: ignore[arg-type]


async def asynchronous_functions(strings: list[str]) -> None:
    assert_type(await arerank(COHERE, "query", strings), RerankResponse)
    assert_type(await asyncio.gather(arerank(COHERE, "query", strings)), tuple[RerankResponse])
    assert_type(await asyncio.wait_for(arerank(COHERE, "query", strings), 1.0), RerankResponse)
    assert_type(await asyncio.create_task(arerank(COHERE, "query", strings, top_n=3)), RerankResponse)
    await arerank(COHERE, "query", strings, top_n="3")  # type: ignore[arg-type]
    await arerank(COHERE, "query")  # type: ignore[call-arg]


def from_synchronous_code(strings: list[str]) -> None:
    assert_type(asyncio.run(arerank(COHERE, "query", strings)), RerankResponse)
    assert_type(asyncio.run(Reranker(COHERE).arerank("query", strings)), RerankResponse)


def on_call(event: CallEvent) -> None:
    assert_type(event.cost, float | None)
    assert_type(event.documents, Sequence[str | Mapping[str, Any]])


def methods(strings: list[str], many: list[list[str]]) -> None:
    with Reranker(
        COHERE, top_n=3, truncate="END", cache=MemoryCache(), hooks=[on_call], guardrails=[str.strip]
    ) as ours:
        assert_type(ours, Reranker)
        assert_type(ours.rerank("query", strings), RerankResponse)
        assert_type(ours.rerank(query="query", documents=strings, top_n=1), RerankResponse)
        assert_type(ours.rerank_many(strings, many), list[RerankResponse])
        assert_type(ours.rerank_many(strings, many, return_exceptions=False), list[RerankResponse])
        assert_type(ours.rerank_many(strings, many, return_exceptions=True), list[RerankResponse | RerankError])
        assert_type(ours.model, str)
        assert_type(ours.provider, str)
        ours.rerank_many(strings, many, progress=True, return_exceptions=True, top_n=2)
        ours.rerank_many(strings, many, top_n="2")  # type: ignore[call-overload]
        ours.rerank("query", strings, api_key="key")  # type: ignore[call-arg]
        ours.rerank("query")  # type: ignore[call-arg]
    Reranker(COHERE, "key")  # type: ignore[call-arg]
    Reranker(COHERE, tpo_n=3)  # type: ignore[call-arg]


async def asynchronous_methods(strings: list[str], many: list[list[str]]) -> None:
    async with Reranker(COHERE, http_client=httpx.AsyncClient()) as reranker:
        assert_type(reranker, Reranker)
        assert_type(await reranker.arerank("query", strings), RerankResponse)
        assert_type(await reranker.arerank(query="query", documents=strings, top_n=1), RerankResponse)
        assert_type(await asyncio.create_task(reranker.arerank("query", strings)), RerankResponse)
        assert_type(await reranker.arerank_many(strings, many), list[RerankResponse])
        every = await reranker.arerank_many(strings, many, progress=False, return_exceptions=True)
        assert_type(every, list[RerankResponse | RerankError])
        await reranker.arerank("query")  # type: ignore[call-arg]


async def routers(strings: list[str]) -> None:
    router = Router([{"model_name": "rerank", "litellm_params": {"model": COHERE}}])
    assert_type(router.rerank("rerank", "query", strings, top_n=1, fallbacks=["other"]), RerankResponse)
    assert_type(await router.arerank("rerank", "query", strings), RerankResponse)
    assert_type(router.as_reranker("rerank").rerank("query", strings), RerankResponse)
    router.rerank("rerank", "query", strings, top_n="3")  # type: ignore[arg-type]


async def many_queries_of_a_router(router: Router, strings: list[str], many: list[list[str]], choice: bool) -> None:
    assert_type(router.rerank_many("rerank", strings, many, fallbacks=[]), list[RerankResponse])
    every = router.rerank_many("rerank", strings, many, return_exceptions=choice)
    assert_type(every, list[RerankResponse | RerankError])
    assert_type(await router.arerank_many("rerank", strings, many), list[RerankResponse])
    every = await router.arerank_many("rerank", strings, many, return_exceptions=True)
    assert_type(every, list[RerankResponse | RerankError])
    model = router.as_reranker("rerank")
    assert_type(model.rerank_many(strings, many), list[RerankResponse])
    assert_type(await model.arerank_many(strings, many), list[RerankResponse])
    assert_type(model.rerank_many(strings, many, return_exceptions=True), list[RerankResponse | RerankError])
