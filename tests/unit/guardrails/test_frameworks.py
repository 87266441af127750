"""Guardrails in LangChain and LlamaIndex."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumpd
from langchain_core.retrievers import BaseRetriever
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation import get_dispatcher
from pydantic import Field
from tests.support.frameworks import FACES, Face, Trees, Wire
from tests.unit.guardrails.guarded import QUERY, SECRET, explode, mask

from anyrerank import (
    ConfigurationError,
    GuardrailRaisedError,
    Reranker,
)
from anyrerank.langchain import RerankRetriever


@pytest.mark.parametrize("face", FACES, ids=str)
def test_adapter_sends_the_query_that_they_return(face: Face) -> None:
    wire, calls = Wire(), []

    def once(query: str) -> str:
        calls.append(query)
        return mask(query)

    face.rerank(face.make(wire, guardrails=[once]), ["a 0.5", "b 0.9"], QUERY)
    assert wire.body["query"] == "when does <PROJECT> start?"
    assert calls == [QUERY]


def test_langchain_trace_has_the_query_that_they_return() -> None:
    face, trees = FACES[0], Trees()
    adapter = face.make(Wire(), guardrails=[mask])
    adapter.compress_documents([Document("a 0.5")], QUERY, callbacks=[trees])
    assert trees.root.inputs["query"] == "when does <PROJECT> start?"
    assert SECRET not in f"{trees.root.inputs} {trees.root.outputs} {trees.root.metadata}"
    assert dumpd(adapter)["type"] == "not_implemented"


class _Events(BaseEventHandler):
    seen: list[Any] = Field(default_factory=list)

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.seen.append(event)


def test_llama_index_event_has_the_query_that_they_return() -> None:
    face, handler = FACES[2], _Events()
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(handler)
    try:
        adapter = face.make(Wire(), guardrails=[mask])
        face.rerank(adapter, ["a 0.5"], QUERY)
    finally:
        dispatcher.event_handlers.remove(handler)
    (start,) = [event for event in handler.seen if event.class_name() == "ReRankStartEvent"]
    assert start.query.query_str == "when does <PROJECT> start?"
    with pytest.raises(ConfigurationError, match="guardrails"):
        adapter.to_dict()


def test_base_retriever_gets_the_query_that_they_return() -> None:
    asked = []

    class Base(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            asked.append(query)
            return [Document("a 0.5")]

    retriever = RerankRetriever(base_retriever=Base(), reranker=FACES[0].make(Wire(), guardrails=[mask]))
    retriever.invoke(QUERY)
    refusing = RerankRetriever(base_retriever=Base(), reranker=FACES[0].make(Wire(), guardrails=[explode]))
    with pytest.raises(GuardrailRaisedError):
        refusing.invoke(QUERY)
    assert asked == ["when does <PROJECT> start?"]


def test_guardrail_runs_once_for_a_retrieval() -> None:
    class Base(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document("a 0.5")]

    seen: list[str] = []

    def note(query: str) -> str:
        seen.append(query)
        return mask(query)

    sync, asynchronous = (
        RerankRetriever(base_retriever=Base(), reranker=face.make(Wire(), guardrails=[note])) for face in FACES[:2]
    )
    sync.invoke(QUERY)
    asyncio.run(asynchronous.ainvoke(QUERY))
    assert seen == [QUERY, QUERY]


@pytest.mark.parametrize("face", [FACES[0], FACES[2]], ids=str)
def test_guardrails_set_on_an_adapter_with_a_reranker_are_refused(face: Face) -> None:
    adapter = face.make(reranker=Reranker("local/lexical"))
    adapter.guardrails = [mask]
    with pytest.raises(ConfigurationError, match="guardrails and hooks cannot be set with reranker="):
        face.rerank(adapter, ["a 0.5"], QUERY)
