"""Who a call is for: by its argument, by the framework's, by what is said around it, or as it was made."""

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

from anyrerank import Reranker, Router, langchain, llama_index, rerank, using_attributes
from anyrerank.hooks import CallEvent


class Heard(list[CallEvent]):
    """What hooks were told."""

    @property
    def users(self) -> list[str | None]:
        return [event.user for event in self]


@pytest.fixture
def heard() -> Heard:
    return Heard()


def served(mode: Mode, heard: Heard, **options: Any) -> Reranker:
    client = mode.client(transport=httpx.MockTransport(Wire()))
    return mode.reranker(http_client=client, hooks=[heard.append], **options)


def test_a_call_says_it_for_itself_then_what_is_around_it_then_what_was_made(mode: Mode, heard: Heard) -> None:
    reranker = served(mode, heard, user="made")
    mode.rerank(reranker, QUERY, DOCUMENTS)
    with using_attributes(user="around"):
        mode.rerank(reranker, QUERY, DOCUMENTS)
        mode.rerank(reranker, QUERY, DOCUMENTS, user="called")
        with using_attributes(user="nearer"):
            mode.rerank(reranker, QUERY, DOCUMENTS)
        with using_attributes(metadata={"tags": ["x"]}):
            mode.rerank(reranker, QUERY, DOCUMENTS)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert heard.users == ["made", "around", "called", "nearer", "around", "made"]


def test_metadata_is_added_to(mode: Mode, heard: Heard) -> None:
    reranker = served(mode, heard, metadata={"team": "search", "tags": ["a"]})
    with using_attributes(metadata={"tags": ["b"]}), using_attributes(metadata={"page": 7}):
        mode.rerank(reranker, QUERY, DOCUMENTS)
        mode.rerank(reranker, QUERY, DOCUMENTS, metadata={"only": "this"})
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert [dict(event.metadata) for event in heard] == [
        {"team": "search", "tags": ["b"], "page": 7},
        {"only": "this"},
        {"team": "search", "tags": ["a"]},
    ]


def test_an_error_ends_it_too(sync_mode: Mode, heard: Heard) -> None:
    with pytest.raises(ZeroDivisionError), using_attributes(user="ann"):
        raise ZeroDivisionError
    sync_mode.rerank(served(sync_mode, heard), QUERY, DOCUMENTS)
    assert heard.users == [None]


def test_the_functions_take_it_too(heard: Heard) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client, using_attributes(user="around"):
        given: dict[str, Any] = {"api_key": KEY, "http_client": client, "hooks": [heard.append]}
        rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS, **given)
        rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS, user="called", **given)
    assert heard.users == ["around", "called"]


def test_many_at_once(mode: Mode, heard: Heard) -> None:
    with using_attributes(user="ann"):
        mode.rerank_many(served(mode, heard), [QUERY] * 3, [DOCUMENTS] * 3)
    assert heard.users == ["ann"] * 3


async def test_tasks_do_not_see_each_other_s(heard: Heard) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(Wire())) as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, hooks=[heard.append])

        async def ask(user: str) -> None:
            with using_attributes(user=user):
                await asyncio.sleep(0)
                await reranker.arerank(QUERY, [user])

        await asyncio.gather(*(ask(f"user {number}") for number in range(20)))
    assert sorted((event.user, *event.documents) for event in heard) == sorted((f"user {n}",) * 2 for n in range(20))


def test_threads_with_a_copy_of_the_context_are_inside(heard: Heard) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client, ThreadPoolExecutor(1) as pool:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, hooks=[heard.append])
        with using_attributes(user="ann"):
            pool.submit(copy_context().run, reranker.rerank, QUERY, DOCUMENTS).result()
            pool.submit(reranker.rerank, QUERY, DOCUMENTS).result()
    assert heard.users == ["ann", None]


@pytest.mark.parametrize("face", FACES, ids=str)
def test_in_a_framework(face: Face, heard: Heard) -> None:
    adapter = face.make(Wire(), user="field", hooks=[heard.append])
    face.rerank(adapter, ["a 0.1"])
    with using_attributes(user="around"):
        face.rerank(adapter, ["a 0.1"])
    assert heard.users == ["field", "around"]


@pytest.mark.parametrize("kind", [langchain.AnyRerank, llama_index.AnyRerank])
@pytest.mark.parametrize("routed", [False, True])
def test_a_ready_reranker_in_a_framework(kind: type[Any], routed: bool, heard: Heard) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        params: dict[str, Any] = {"model": "cohere/rerank-v3.5", "api_key": KEY}
        given: dict[str, Any] = {"http_client": client, "hooks": [heard.append], "user": "made"}
        entry = {"model_name": "r", "litellm_params": params}
        ready = Router([entry], **given) if routed else Reranker(**params, **given)
        for user in (None, "field"):
            adapter = kind(reranker=ready, user=user)
            _rerank(adapter)
            with using_attributes(user="around"):
                _rerank(adapter)
    assert heard.users == ["made", "around", "field", "around"]


def _rerank(adapter: Any) -> None:
    if isinstance(adapter, langchain.AnyRerank):
        adapter.compress_documents([Document("a 0.1")], QUERY)
    else:
        adapter.postprocess_nodes([NodeWithScore(node=TextNode(text="a 0.1"))], query_str=QUERY)


# What LangChain says of a run

ASKED: RunnableConfig = {"metadata": {"user_id": "ann"}}


def compressor(heard: Heard, client: Any) -> langchain.AnyRerank:
    return langchain.AnyRerank(
        model="cohere/rerank-v3.5", api_key=SecretStr(KEY), user="field", hooks=[heard.append], http_client=client
    )


def test_the_metadata_of_a_run(heard: Heard) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        runnable = compressor(heard, client).as_runnable()
        asked = {"query": QUERY, "documents": [Document("a 0.1")]}
        (RunnableLambda(lambda given: given) | runnable).invoke(asked, ASKED)
        runnable.invoke(asked, ASKED, user="called")
        runnable.invoke(asked)
        with using_attributes(user="around"):
            runnable.invoke(asked, ASKED)
    assert heard.users == ["ann", "called", "field", "ann"]


def test_a_run_says_more_of_a_user_than_a_field_beside_a_ready_reranker(heard: Heard) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        ready = Reranker("cohere/rerank-v3.5", api_key=KEY, hooks=[heard.append], http_client=client)
        runnable = langchain.AnyRerank(reranker=ready, user="service").as_runnable()
        asked = {"query": QUERY, "documents": [Document("a 0.1")]}
        runnable.invoke(asked, ASKED)
        runnable.invoke(asked)
    assert heard.users == ["ann", "service"]


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
def test_an_id_that_is_no_string(heard: Heard, user_id: Any, user: str) -> None:
    with httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        runnable = compressor(heard, client).as_runnable()
        asked = {"query": QUERY, "documents": [Document("a 0.1")]}
        runnable.invoke(asked, {"metadata": {"user_id": user_id}})
        runnable.invoke(asked, {"metadata": {"user_id": user_id}}, user="called")
    assert heard.users == [user, "called"]


async def test_the_metadata_of_an_asynchronous_retrieval(heard: Heard) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(Wire())) as client:
        store = InMemoryVectorStore.from_texts(["a 0.1", "b 0.9"], DeterministicFakeEmbedding(size=4))
        retriever = langchain.RerankRetriever(base_retriever=store.as_retriever(), reranker=compressor(heard, client))
        chain = RunnableLambda(lambda query: query) | retriever
        await chain.ainvoke(QUERY, ASKED)
        await retriever.ainvoke(QUERY, user="called")
        await retriever.ainvoke(QUERY)
    assert heard.users == ["ann", "called", "field"]
