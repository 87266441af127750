"""User and metadata of a call: from its arguments, the framework, a `with` block, or the reranker."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any
from uuid import UUID

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import SecretStr
from tests.support.frameworks import FACES, Face, Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode

from anyrerank import BadRequestError, Reranker, Router, langchain, llama_index, rerank, using_attributes
from anyrerank.hooks import CallEvent


class Events(list[CallEvent]):
    """The events that a hook got."""

    @property
    def users(self) -> list[str | None]:
        return [event.user for event in self]


@pytest.fixture
def events() -> Events:
    return Events()


def served(mode: Mode, events: Events, **options: Any) -> Reranker:
    client = mode.client(transport=httpx.MockTransport(Wire()))
    return mode.reranker(http_client=client, hooks=[events.append], **options)


def test_user_of_the_call_precedes_that_of_the_block_and_of_the_reranker(mode: Mode, events: Events) -> None:
    reranker = served(mode, events, user="made")
    mode.rerank(reranker, QUERY, DOCUMENTS)
    with using_attributes(user="around"):
        mode.rerank(reranker, QUERY, DOCUMENTS)
        mode.rerank(reranker, QUERY, DOCUMENTS, user="called")
        with using_attributes(user="nearer"):
            mode.rerank(reranker, QUERY, DOCUMENTS)
        with using_attributes(metadata={"tags": ["x"]}):
            mode.rerank(reranker, QUERY, DOCUMENTS)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert events.users == ["made", "around", "called", "nearer", "around", "made"]


def test_metadata_of_nested_blocks_is_merged(mode: Mode, events: Events) -> None:
    reranker = served(mode, events, metadata={"team": "search", "tags": ["a"]})
    with using_attributes(metadata={"tags": ["b"]}), using_attributes(metadata={"page": 7}):
        mode.rerank(reranker, QUERY, DOCUMENTS)
        mode.rerank(reranker, QUERY, DOCUMENTS, metadata={"only": "this"})
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert [dict(event.metadata) for event in events] == [
        {"team": "search", "tags": ["b"], "page": 7},
        {"only": "this"},
        {"team": "search", "tags": ["a"]},
    ]


def test_block_ends_with_an_error_too(sync_mode: Mode, events: Events) -> None:
    with pytest.raises(ZeroDivisionError), using_attributes(user="ann"):
        raise ZeroDivisionError
    sync_mode.rerank(served(sync_mode, events), QUERY, DOCUMENTS)
    assert events.users == [None]


def test_functions_use_the_attributes(events: Events) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client, using_attributes(user="around"):
        given: dict[str, Any] = {"api_key": KEY, "http_client": client, "hooks": [events.append]}
        rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS, **given)
        rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS, user="called", **given)
    assert events.users == ["around", "called"]


def test_rerank_many_uses_the_attributes(mode: Mode, events: Events) -> None:
    with using_attributes(user="ann"):
        mode.rerank_many(served(mode, events), [QUERY] * 3, [DOCUMENTS] * 3)
    assert events.users == ["ann"] * 3


async def test_tasks_have_separate_attributes(events: Events) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(Wire())) as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, hooks=[events.append])

        async def ask(user: str) -> None:
            with using_attributes(user=user):
                await asyncio.sleep(0)
                await reranker.arerank(QUERY, [user])

        await asyncio.gather(*(ask(f"user {number}") for number in range(20)))
    assert sorted((event.user, *event.documents) for event in events) == sorted((f"user {n}",) * 2 for n in range(20))


def test_threads_with_a_copy_of_the_context_use_the_attributes(events: Events) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client, ThreadPoolExecutor(1) as pool:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, hooks=[events.append])
        with using_attributes(user="ann"):
            pool.submit(copy_context().run, reranker.rerank, QUERY, DOCUMENTS).result()
            pool.submit(reranker.rerank, QUERY, DOCUMENTS).result()
    assert events.users == ["ann", None]


@pytest.mark.parametrize("face", FACES, ids=str)
def test_adapter_uses_the_attributes(face: Face, events: Events) -> None:
    adapter = face.make(Wire(), user="field", hooks=[events.append])
    face.rerank(adapter, ["a 0.1"])
    with using_attributes(user="around"):
        face.rerank(adapter, ["a 0.1"])
    assert events.users == ["field", "around"]


@pytest.mark.parametrize("kind", [langchain.AnyRerank, llama_index.AnyRerank])
@pytest.mark.parametrize("routed", [False, True])
def test_adapter_with_a_reranker_uses_the_attributes(kind: type[Any], routed: bool, events: Events) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        params: dict[str, Any] = {"model": "cohere/rerank-v3.5", "api_key": KEY}
        given: dict[str, Any] = {"http_client": client, "hooks": [events.append], "user": "made"}
        entry = {"model_name": "r", "litellm_params": params}
        ready = Router([entry], **given) if routed else Reranker(**params, **given)
        for user in (None, "field"):
            adapter = kind(reranker=ready, user=user)
            _rerank(adapter)
            with using_attributes(user="around"):
                _rerank(adapter)
    assert events.users == ["made", "around", "field", "around"]


def _rerank(adapter: Any) -> None:
    if isinstance(adapter, langchain.AnyRerank):
        adapter.compress_documents([Document("a 0.1")], QUERY)
    else:
        adapter.postprocess_nodes([NodeWithScore(node=TextNode(text="a 0.1"))], query_str=QUERY)


# LangChain's metadata of a run

ASKED: RunnableConfig = {"metadata": {"user_id": "ann"}}


def compressor(events: Events, client: Any) -> langchain.AnyRerank:
    return langchain.AnyRerank(
        model="cohere/rerank-v3.5", api_key=SecretStr(KEY), user="field", hooks=[events.append], http_client=client
    )


def test_user_is_read_from_the_metadata_of_a_run(events: Events) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        runnable = compressor(events, client).as_runnable()
        asked = {"query": QUERY, "documents": [Document("a 0.1")]}
        (RunnableLambda(lambda given: given) | runnable).invoke(asked, ASKED)
        runnable.invoke(asked, ASKED, user="called")
        runnable.invoke(asked)
        with using_attributes(user="around"):
            runnable.invoke(asked, ASKED)
    assert events.users == ["ann", "called", "field", "ann"]


def test_user_of_a_run_precedes_that_of_a_field_next_to_a_reranker(events: Events) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        ready = Reranker("cohere/rerank-v3.5", api_key=KEY, hooks=[events.append], http_client=client)
        runnable = langchain.AnyRerank(reranker=ready, user="service").as_runnable()
        asked = {"query": QUERY, "documents": [Document("a 0.1")]}
        runnable.invoke(asked, ASKED)
        runnable.invoke(asked)
    assert events.users == ["ann", "service"]


@pytest.mark.parametrize(
    ("user_id", "user"),
    [
        (42, "42"),
        (0, "0"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        ("ann", "ann"),
        (True, "field"),
        (4.5, "field"),
        (["ann"], "field"),
        (None, "field"),
    ],
    ids=str,
)
def test_user_id_that_is_no_string_is_converted_or_ignored(events: Events, user_id: Any, user: str) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        runnable = compressor(events, client).as_runnable()
        asked = {"query": QUERY, "documents": [Document("a 0.1")]}
        runnable.invoke(asked, {"metadata": {"user_id": user_id}})
        runnable.invoke(asked, {"metadata": {"user_id": user_id}}, user="called")
    assert events.users == [user, "called"]


async def test_user_is_read_from_the_metadata_of_an_async_retrieval(events: Events) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(Wire())) as client:
        store = InMemoryVectorStore.from_texts(["a 0.1", "b 0.9"], DeterministicFakeEmbedding(size=4))
        retriever = langchain.RerankRetriever(base_retriever=store.as_retriever(), reranker=compressor(events, client))
        chain = RunnableLambda(lambda query: query) | retriever
        await chain.ainvoke(QUERY, ASKED)
        await retriever.ainvoke(QUERY, user="called")
        await retriever.ainvoke(QUERY)
    assert events.users == ["ann", "called", "field"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"user": 5}, "user must be a string, or None, got a value of type int"),
        ({"metadata": "search"}, "metadata must be a mapping, or None, got a value of type str"),
    ],
)
def test_wrong_attributes_are_refused_where_they_are_set(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadRequestError, match=problem), using_attributes(**wrong):
        pass
