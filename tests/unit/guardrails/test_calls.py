"""Guardrails change or refuse a query before anything is sent."""

from __future__ import annotations

import asyncio
import json
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, Mode, Replay, answering, leaks
from tests.unit.guardrails.guarded import QUERY, ROWS, SECRET, blocked, explode, mask, sent

from anyrerank import (
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    GuardrailRaisedError,
    Reranker,
)

MARK = ContextVar("mark", default="unmarked")


async def later(query: str) -> str:
    return mask(query)


def forget(query: str) -> Any:
    return None


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
