"""Guardrails change or refuse a query before anything is sent; a guardrail that fails blocks the call."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import sys
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.load import dumpd
from langchain_core.retrievers import BaseRetriever
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation import get_dispatcher
from pydantic import Field
from tests.support.frameworks import FACES, Face, Trees, Wire
from tests.support.harness import DOCUMENTS, Mode, Replay, answering, leaks

from anyrerank import (
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    GuardrailRaisedError,
    Reranker,
)
from anyrerank.guardrails import KINDS, DenyList, Mask, PresidioMask
from anyrerank.langchain import RerankRetriever

SECRET = "project Nightjar"
QUERY = f"when does {SECRET} start?"
MARK = ContextVar("mark", default="unmarked")
ROWS = {"results": [{"index": index, "relevance_score": 0.5} for index in range(3)]}


def mask(query: str) -> str:
    return query.replace(SECRET, "<PROJECT>")


async def later(query: str) -> str:
    return mask(query)


def explode(query: str) -> str:
    raise ValueError(f"not {query}")


def forget(query: str) -> Any:
    return None


def sent(mode: Mode, query: str, *guardrails: Any, **options: Any) -> str:
    """The query as it leaves the process."""
    replay = answering(ROWS)
    reranker = mode.reranker(http_client=replay.client(mode), guardrails=list(guardrails), **options)
    mode.rerank(reranker, query, DOCUMENTS)
    (request,) = replay.seen
    body = json.loads(request.content)
    assert body["documents"] == DOCUMENTS
    found: str = body["query"]
    return found


def blocked(mode: Mode, query: str, *guardrails: Any, **options: Any) -> GuardrailRaisedError:
    replay = Replay([])
    reranker = mode.reranker(http_client=replay.client(mode), guardrails=list(guardrails), **options)
    with pytest.raises(GuardrailRaisedError) as caught:
        mode.rerank(reranker, query, DOCUMENTS)
    assert replay.seen == []
    return caught.value


def test_query_is_sent_as_the_guardrails_return_it(mode: Mode) -> None:
    assert sent(mode, QUERY, mask) == "when does <PROJECT> start?"
    assert sent(mode, QUERY, mask, str.upper, lambda query: query + "!") == "WHEN DOES <PROJECT> START?!"
    assert sent(mode, QUERY) == QUERY


def test_guardrail_that_fails_blocks_the_call(mode: Mode) -> None:
    error = blocked(mode, QUERY, explode)
    assert "guardrail explode failed with ValueError" in error.message
    assert not leaks(error, [SECRET])


def test_guardrail_that_returns_nothing_blocks_the_call(mode: Mode) -> None:
    error = blocked(mode, QUERY, mask, forget)
    assert "guardrail forget must return the query as a string, got NoneType" in error.message


@pytest.mark.parametrize("options", [{"on_error": "passthrough"}, {"fallbacks": ["local/lexical"]}], ids=str)
def test_blocked_call_has_no_fallback(options: dict[str, Any], mode: Mode) -> None:
    blocked(mode, QUERY, explode, **options)


def test_guardrail_that_returns_a_blank_query_blocks_the_call(mode: Mode) -> None:
    reranker = mode.reranker(guardrails=[lambda query: " "])
    with pytest.raises(BadRequestError, match="query must not be blank"):
        mode.rerank(reranker, QUERY, DOCUMENTS)


def test_async_guardrail_works_in_async_calls_only(mode: Mode) -> None:
    if mode.asynchronous:
        assert sent(mode, QUERY, later) == "when does <PROJECT> start?"
        return
    with pytest.raises(ConfigurationError, match="guardrail later is async: use arerank"):
        mode.rerank(mode.reranker(guardrails=[later]), QUERY, DOCUMENTS)


@pytest.mark.parametrize("blocking", [False, True])
def test_guardrail_that_takes_too_long_is_a_timeout(blocking: bool, mode: Mode) -> None:
    release = threading.Event()

    class Waits:
        def __init__(self, blocking: bool) -> None:
            self.blocking = blocking

        def __call__(self, query: str) -> Any:
            return str(release.wait(20)) if self.blocking else asyncio.Event().wait()

    replay = Replay([])
    reranker = mode.reranker(http_client=replay.client(mode), guardrails=[Waits(blocking)], timeout=0.05)
    kind = APITimeoutError if blocking or mode.asynchronous else ConfigurationError
    try:
        with pytest.raises(kind):
            mode.rerank(reranker, QUERY, DOCUMENTS)
    finally:
        release.set()
    assert replay.seen == []


async def test_context_variable_set_by_a_guardrail_is_set_for_the_call() -> None:
    seen: list[str] = []

    async def marks(query: str) -> str:
        MARK.set("marked")
        return query

    reranker = Reranker("local/lexical", guardrails=[marks], hooks=[lambda event: seen.append(MARK.get())])
    await reranker.arerank(QUERY, DOCUMENTS)
    assert seen == ["marked"]


async def test_timeout_error_of_a_guardrail_blocks_the_call() -> None:
    async def impatient(query: str) -> str:
        raise TimeoutError

    reranker = Reranker("local/lexical", guardrails=[impatient])
    with pytest.raises(GuardrailRaisedError, match="failed with TimeoutError"):
        await reranker.arerank(QUERY, DOCUMENTS)


def test_call_overrides_the_guardrails(mode: Mode) -> None:
    replay = answering(ROWS)
    reranker = mode.reranker(http_client=replay.client(mode), guardrails=[explode])
    mode.rerank(reranker, QUERY, DOCUMENTS, guardrails=[mask])
    assert json.loads(replay.seen[0].content)["query"] == "when does <PROJECT> start?"


def test_guardrail_gets_every_query_of_rerank_many(mode: Mode) -> None:
    seen: list[str] = []

    def look(query: str) -> str:
        seen.append(query)
        return query

    reranker = mode.reranker("local/lexical", guardrails=[look])
    mode.rerank_many(reranker, ["one", "two"], [DOCUMENTS, DOCUMENTS])
    assert sorted(seen) == ["one", "two"]


@pytest.mark.parametrize("value", [mask, "mask", [1], None])
def test_guardrails_that_are_no_list_of_functions_are_refused(value: Any) -> None:
    with pytest.raises(BadRequestError, match="guardrails must be a list of functions"):
        Reranker("local/lexical", guardrails=value)


def test_fallback_uses_its_own_guardrails(mode: Mode) -> None:
    replay = Replay([{"response": {"status": 500, "json": {}}}, {"response": {"status": 200, "json": ROWS}}])
    client = replay.client(mode)
    outside = mode.reranker("cohere/outside", http_client=client, guardrails=[mask], extra_body={"mine": 1})
    own = mode.reranker("cohere/own", http_client=client, fallbacks=[outside], extra_body={"first": 1})
    assert mode.rerank(own, QUERY, DOCUMENTS).model == "outside"
    first, second = (json.loads(request.content) for request in replay.seen)
    assert (first["query"], first["first"]) == (QUERY, 1)
    assert (second["query"], second["mine"]) == ("when does <PROJECT> start?", 1)
    assert "first" not in second


def test_guardrails_are_copied_by_the_constructor(mode: Mode) -> None:
    given = [mask]
    replay = answering(ROWS)
    reranker = mode.reranker(http_client=replay.client(mode), guardrails=given)
    given.clear()
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert json.loads(replay.seen[0].content)["query"] == "when does <PROJECT> start?"


# In the frameworks


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


# The guardrails of the package


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("is Project X ready?", True),
        ("is PROJECT X, then, ready?", True),
        ("is project xylophone ready?", False),
        ("a code: AB-1234", True),
        ("a code: ab-1234", False),
        ("C++ or Rust?", True),
        ("C+++ or Rust?", True),
        ("nothing of it", False),
        ("is project\n  x ready?", True),
    ],
)
def test_deny_list(query: str, refused: bool, mode: Mode) -> None:
    deny = DenyList(terms=["project x", "C++"], patterns=[r"[A-Z]{2}-\d{4}"])
    if refused:
        assert "of the deny list" in blocked(mode, query, deny).message
    else:
        assert sent(mode, query, deny) == query


@pytest.mark.parametrize(
    "make",
    [
        lambda: DenyList("nightjar"),
        lambda: DenyList([], "night"),
        lambda: PresidioMask("IP_ADDRESS"),
    ],
)
def test_string_in_place_of_a_list_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a list of strings, got a string"):
        make()


@pytest.mark.parametrize("min_score", [-0.1, 40])
def test_min_score_out_of_range_is_refused(min_score: float) -> None:
    with pytest.raises(ConfigurationError, match=f"min_score of PresidioMask must be between 0 and 1, got {min_score}"):
        PresidioMask(min_score=min_score)


def test_deny_list_names_the_entry_but_not_its_text(mode: Mode) -> None:
    error = blocked(mode, "tell me of nightjar", DenyList(["other", "nightjar"]))
    assert "entry 2 of the deny list" in error.message
    assert not leaks(error, ["nightjar"])


@given(st.text(min_size=1), st.text(), st.text())
def test_deny_list_finds_every_term_between_spaces(term: str, before: str, after: str) -> None:
    with pytest.raises(GuardrailRaisedError):
        DenyList([term])(f"{before} {term} {after}")


def test_mask(mode: Mode) -> None:
    replace = Mask({r"\bACC-\d+": "<ACCOUNT>", "secret": r"\1"})
    assert sent(mode, "what of ACC-17 and ACC-9, the secret ones?", replace) == (
        r"what of <ACCOUNT> and <ACCOUNT>, the \1 ones?"
    )


@pytest.mark.parametrize("make", [lambda text: DenyList([], [text]), lambda text: Mask({text: "x"})])
@pytest.mark.parametrize(
    ("text", "words"), [("(", "not a regular expression"), ("", "not empty"), (3, "must be strings")]
)
def test_invalid_pattern_is_refused(make: Any, text: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make(text)


@pytest.mark.parametrize("made", [DenyList(["a"], ["b"]), Mask({"a": "b"}), PresidioMask(["CREDIT_CARD"])])
def test_guardrail_can_be_pickled_and_compared(made: Any) -> None:
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301


# Presidio

presidio = pytest.mark.skipif(sys.version_info >= (3, 14), reason="Presidio does not support Python 3.14 yet")


@presidio
@pytest.mark.parametrize(
    ("query", "masked"),
    [
        ("write to jane.doe@example.com now", "write to <EMAIL_ADDRESS> now"),
        ("card 4111 1111 1111 1111?", "card <CREDIT_CARD>?"),
        ("card 4111 1111 1111 1112?", "card 4111 1111 1111 1112?"),
        ("from DE89 3704 0044 0532 0130 00 to", "from <IBAN_CODE> to"),
        ("ping 192.168.10.1", "ping <IP_ADDRESS>"),
        ("call +1 212 555 0123 or +44 20 7946 0958", "call <PHONE_NUMBER> or <PHONE_NUMBER>"),
        ("what is the capital of Canada?", "what is the capital of Canada?"),
        ("call +1 212 555 0123@mail.example.com", "call <EMAIL_ADDRESS>"),
    ],
)
def test_presidio_mask(query: str, masked: str, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Presidio itself, without a model and without the network."""
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: asked.append(arguments))
    assert sent(mode, query, PresidioMask()) == masked
    assert asked == []


@presidio
def test_presidio_mask_of_some_kinds(mode: Mode) -> None:
    query = "jane.doe@example.com at 192.168.10.1"
    assert sent(mode, query, PresidioMask(["IP_ADDRESS"])) == "jane.doe@example.com at <IP_ADDRESS>"
    with pytest.raises(ConfigurationError, match=r"entities of PresidioMask must be among CREDIT_CARD, .* got NAME"):
        PresidioMask(["NAME"])


@presidio
def test_every_kind_has_a_recognizer() -> None:
    for kind in KINDS:
        assert PresidioMask([kind])("nothing here") == "nothing here"


@presidio
def test_presidio_mask_does_not_block_the_event_loop() -> None:
    threads: list[int] = []

    class Watched(PresidioMask):
        def __call__(self, query: str) -> str:
            threads.append(threading.get_ident())
            return super().__call__(query)

    mode = Mode(asynchronous=True)
    assert sent(mode, "hello", Watched()) == "hello"
    mode.finish()
    assert threads != [threading.get_ident()]
