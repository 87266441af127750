"""What both adapters do when a call fails: errors, retries, fallbacks, passthrough, guardrails and time-outs."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.schema import MetadataMode
from tests.support.frameworks import COHERE, FACES, LOCAL, NVIDIA, Face, Wire, in_turn, refusing, well
from tests.support.harness import KEY
from tests.support.loopback import MAX_WAIT

from anyrerank import (
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    FallbackError,
    GuardrailRaisedError,
    InternalServerError,
    RateLimitError,
    Reranker,
)
from anyrerank.hooks import CallEvent

ITEMS = ["c 0.3", "a 0.9", "b 0.5"]
RANKED = [("a 0.9", 0.9), ("b 0.5", 0.5), ("c 0.3", 0.3)]


@pytest.mark.parametrize(("status", "error"), [(429, RateLimitError), (503, InternalServerError)])
def test_refusal_raises_its_error_class(face: Face, status: int, error: type[Exception]) -> None:
    wire = Wire(refusing(status))
    with pytest.raises(error, match="refused by the test"):
        face.rerank(face.make(wire), ITEMS)
    assert len(wire.requests) == 1


def test_failed_request_is_retried(face: Face, waits: list[float]) -> None:
    wire = Wire(in_turn(refusing(503), well))
    assert face.ranked(face.make(wire, max_retries=1), ITEMS) == RANKED
    assert len(wire.requests) == 2
    assert len(waits) == 1


def test_fallback_answers_after_a_failure(face: Face) -> None:
    wire = Wire(in_turn(refusing(503), well))
    assert face.ranked(face.make(wire, fallbacks=["cohere/rerank-v4.0-fast"]), ITEMS) == RANKED
    assert [body["model"] for body in wire.bodies] == ["rerank-v3.5", "rerank-v4.0-fast"]
    assert {request.headers["authorization"] for request in wire.requests} == {f"Bearer {KEY}"}


def test_fallback_of_another_provider_uses_its_own_key(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "other-key")
    wire = Wire(refusing(503))
    with pytest.raises(FallbackError):
        face.rerank(face.make(wire, fallbacks=[NVIDIA]), ITEMS)
    assert [request.headers["authorization"] for request in wire.requests] == [f"Bearer {KEY}", "Bearer other-key"]


def test_passthrough_returns_the_incoming_order(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(refusing(503))
    with caplog.at_level(logging.WARNING, logger="anyrerank"):
        found = face.ranked(face.make(wire, on_error="passthrough", top_n=2), ITEMS)
    assert found == [("c 0.3", None), ("a 0.9", None)]
    (record,) = caplog.records
    assert "InternalServerError" in record.getMessage()


@pytest.mark.parametrize(("model_key", "expected"), [(None, [{}, {}, {}]), ("by", [COHERE, "cohere/spare", None])])
def test_metadata_has_the_model_that_answered_if_asked(face: Face, model_key: str | None, expected: list[Any]) -> None:
    """Of an answer, of a fallback, and of nothing; that of an earlier rerank is replaced."""
    items, found = [face.item("a 0.9", tag=1)], []
    for answers in ([well], [refusing(401), well], [refusing(401)]):
        options = {"fallbacks": ["cohere/spare"], "on_error": "passthrough", "model_key": model_key}
        items = face.rerank(face.make(Wire(in_turn(*answers)), **options), items)
        found.append(items[0].metadata.get("by", {}))
        if face.framework == "llama_index":
            assert items[0].node.get_content(MetadataMode.LLM) == "tag: 1\n\na 0.9"
    assert found == expected


@pytest.mark.parametrize("face", FACES, ids=str)
def test_local_fallback_is_fused(face: Face) -> None:
    found = ["apples and pears", "pears", "apples", "apples apples"]
    alone = face.make(model=LOCAL)
    spare = face.make(Wire(refusing(401)), fallbacks=[LOCAL])
    assert face.ranked(spare, found, "apples") == face.ranked(alone, found, "apples")
    assert face.ranked(face.make(model=LOCAL, fuse=None), found, "apples") != face.ranked(alone, found, "apples")


def _forbid(query: str) -> str:
    raise GuardrailRaisedError("not this one")


async def _later(query: str) -> str:
    return query


def test_guardrail_refusal_reaches_hooks_and_log(face: Face, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[CallEvent] = []
    adapter = face.make(wire, guardrails=[_forbid], hooks=[calls.append], user="ann", on_error="passthrough")
    with caplog.at_level(logging.INFO, logger="anyrerank"), pytest.raises(GuardrailRaisedError, match="not this one"):
        face.rerank(adapter, ITEMS)
    ((event,), (record,)) = calls, caplog.records
    assert (type(event.error), event.query, event.user) == (GuardrailRaisedError, "", "ann")
    assert "GuardrailRaisedError" in record.getMessage()
    assert wire.requests == []


def _raising(_: object) -> str:
    raise KeyError("secret text")


async def _async_text(_: object) -> str:
    return "a 1"


@pytest.mark.parametrize(
    ("text_fn", "problem"),
    [
        (_raising, r"text_fn failed with KeyError for (documents|nodes)\[0\]; nothing was sent"),
        (lambda item: None, r"text_fn must return a string or a mapping, got NoneType for (documents|nodes)\[0\]"),
        (lambda item: 5, "got int"),
        (_async_text, "text_fn must not be async"),
    ],
    ids=["raises", "None", "int", "async"],
)
def test_text_fn_that_fails_is_an_error_of_the_call(
    face: Face, wire: Wire, text_fn: Callable[[object], object], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[CallEvent] = []
    adapter = face.make(wire, text_fn=text_fn, hooks=[calls.append], on_error="passthrough", fallbacks=[LOCAL])
    with pytest.raises(BadRequestError, match=problem) as caught:
        face.rerank(adapter, ITEMS)
    assert wire.requests == []
    assert [event.error for event in calls] == [caught.value]
    assert "secret text" not in caplog.text + "".join(traceback.format_exception(caught.value))


def test_guardrail_refusal_reads_no_text(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, guardrails=[_forbid], text_fn=lambda item: 1 / 0)
    with pytest.raises(GuardrailRaisedError):
        face.rerank(adapter, ITEMS)


def test_async_guardrail_in_a_sync_call_is_refused(framework: Face, wire: Wire) -> None:
    calls: list[CallEvent] = []
    with pytest.raises(ConfigurationError, match="is async"):
        framework.rerank(framework.make(wire, guardrails=[_later], hooks=[calls.append]), ITEMS)
    assert [type(event.error) for event in calls] == [ConfigurationError]
    assert wire.requests == []


def test_guardrails_count_against_the_timeout(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def slow(query: str) -> str:
        now[0] += seconds
        return query

    adapter = face.make(wire, guardrails=[slow], timeout=60.0)
    seconds = 20.0
    face.rerank(adapter, ITEMS)
    assert 39 < wire.requests[0].extensions["timeout"]["read"] <= 40
    seconds = 60.0
    with pytest.raises(APITimeoutError):
        face.rerank(adapter, ITEMS)
    assert len(wire.requests) == 1
    face.rerank(face.make(wire, guardrails=[slow], timeout=None), ITEMS)
    assert len(wire.requests) == 2


async def test_guardrail_that_hangs_times_out(framework: Face, wire: Wire) -> None:
    calls: list[CallEvent] = []

    async def never(query: str) -> str:
        await asyncio.Event().wait()
        return query

    adapter = framework.make(wire, guardrails=[never], timeout=0.01, hooks=[calls.append])
    with pytest.raises(APITimeoutError):
        await asyncio.wait_for(framework.arerank(adapter, ITEMS), MAX_WAIT)
    assert [type(event.error) for event in calls] == [APITimeoutError]
    assert wire.requests == []


def test_fallback_can_be_a_reranker(face: Face) -> None:
    broken, wire = Wire(refusing(503)), Wire()
    spare = Reranker(NVIDIA, api_key="other-key", http_client=wire.client(asynchronous=face.asynchronous))
    assert face.ranked(face.make(broken, fallbacks=[spare]), ITEMS) == RANKED
    assert (len(broken.requests), wire.requests[0].headers["authorization"]) == (1, "Bearer other-key")


def test_nothing_in_place_of_documents_is_refused(face: Face) -> None:
    adapter = face.make()
    of_langchain = face.framework == "langchain"
    rerank = adapter.compress_documents if of_langchain else adapter.postprocess_nodes
    with pytest.raises(BadRequestError, match="must be a list, got NoneType"):
        rerank(None, **{"query" if of_langchain else "query_str": "q"})
