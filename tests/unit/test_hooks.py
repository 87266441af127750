"""The events for hooks, the log records, and that a failing hook does not affect a call."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import httpx
import pytest
from tests.support.frameworks import FACES, Face, Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering

from anyrerank import BadRequestError, FallbackError, GuardrailRaisedError, RateLimitError, Reranker, RerankError
from anyrerank.hooks import CallEvent, LogCalls
from anyrerank.testing import fake_provider

ROWS = [
    {"index": 1, "relevance_score": 0.9},
    {"index": 0, "relevance_score": 0.2},
    {"index": 2, "relevance_score": 0.1},
]
BODY = {"id": "c-1", "results": ROWS, "meta": {"billed_units": {"search_units": 1}}}
LIMITED = {"response": {"status": 429, "headers": {"retry-after": "0"}, "json": {"message": "slow down"}}}
OK = {"response": {"status": 200, "headers": {"x-request-id": "rq-1"}, "json": BODY}}


def events_of(mode: Mode, exchanges: list[Any], **options: Any) -> list[CallEvent]:
    """The events that a hook gets for one call."""
    events: list[CallEvent] = []
    client = Replay(exchanges).client(mode)
    reranker = mode.reranker(**{"http_client": client, "hooks": [events.append], **options})
    with suppress(RerankError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    return events


def test_hook_gets_a_call_that_has_ended(mode: Mode, waits: list[float]) -> None:
    (event,) = events_of(mode, [LIMITED, OK], max_retries=1, user="ann", metadata={"team": "search"}, top_n=2)
    assert (event.provider, event.model, event.query, event.documents) == ("cohere", "rerank-v3.5", QUERY, DOCUMENTS)
    assert (event.user, event.metadata, event.top_n) == ("ann", {"team": "search"}, 2)
    assert [(attempt.status, attempt.error) for attempt in event.attempts] == [(429, "RateLimitError"), (200, None)]
    assert event.error is None
    assert event.response is not None
    assert event.response.results.indexes == (1, 0)
    assert event.cost == 0.002
    starts = [event.started, *(attempt.started for attempt in event.attempts)]
    assert starts == sorted(starts)
    assert event.started > 1.6e9
    assert event.seconds >= sum(attempt.seconds for attempt in event.attempts)


def test_hook_gets_a_call_that_failed(mode: Mode) -> None:
    (event,) = events_of(mode, [LIMITED])
    assert isinstance(event.error, RateLimitError)
    assert event.response is None
    assert event.cost is None
    assert len(event.attempts) == 1


def test_hook_gets_a_call_that_was_refused(mode: Mode) -> None:
    events: list[CallEvent] = []
    with pytest.raises(BadRequestError):
        mode.rerank(mode.reranker(hooks=[events.append]), " ", DOCUMENTS)
    (event,) = events
    assert isinstance(event.error, BadRequestError)
    assert (event.query, event.documents, event.attempts) == ("", (), ())


def test_hook_gets_the_query_as_the_guardrails_left_it(mode: Mode) -> None:
    (event,) = events_of(mode, [OK], guardrails=[str.upper])
    assert event.query == QUERY.upper()
    (stopped,) = events_of(mode, [], guardrails=[lambda query: 1 / 0])
    assert stopped.query == ""
    assert QUERY not in f"{stopped!r} {stopped.error!r}"


def test_hook_that_fails_is_logged_and_does_not_affect_the_call(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[CallEvent] = []

    def broken(event: CallEvent) -> None:
        raise ValueError(event.query)

    reranker = mode.reranker(http_client=answering(BODY).client(mode), hooks=[broken, seen.append])
    assert mode.rerank(reranker, QUERY, DOCUMENTS).id == "c-1"
    assert len(seen) == 1
    (record,) = caplog.records
    assert record.getMessage() == "hook broken raised ValueError, which was ignored"
    assert QUERY not in caplog.text


def test_hook_gets_every_call_of_rerank_many(mode: Mode) -> None:
    events: list[CallEvent] = []
    reranker = mode.reranker("local/lexical", hooks=[events.append])
    mode.rerank_many(reranker, ["one", "two", "three"], [DOCUMENTS] * 3)
    assert sorted(event.query for event in events) == ["one", "three", "two"]


async def test_hook_gets_a_call_that_was_cancelled() -> None:
    (event,) = await _cancelled()
    assert isinstance(event.error, asyncio.CancelledError)


@pytest.mark.parametrize("face", FACES, ids=str)
def test_adapter_has_hooks(face: Face) -> None:
    events: list[CallEvent] = []
    face.rerank(face.make(Wire(), hooks=[events.append], user="ann"), ["a 0.5", "b 0.9"])
    (event,) = events
    assert (event.user, len(event.documents)) == ("ann", 2)


@pytest.mark.parametrize("value", [print, "print", [1], None])
def test_hooks_that_are_no_list_of_functions_are_refused(value: Any) -> None:
    with pytest.raises(BadRequestError, match="hooks must be a list of plain"):
        Reranker("local/lexical", hooks=value)


def failing_over(mode: Mode, **options: Any) -> tuple[Reranker, list[CallEvent]]:
    """A model whose rate limit is reached, with a fallback that answers."""
    events: list[CallEvent] = []
    limited = fake_provider()
    limited.fail(RateLimitError("wait", status_code=429, retry_after=600))
    spare = Reranker("fake/spare", custom_llm_provider=fake_provider())
    made = mode.reranker(
        "fake/first", custom_llm_provider=limited, fallbacks=[spare], hooks=[events.append], max_retries=0, **options
    )
    return made, events


def test_model_that_is_skipped_while_it_cools_down_is_the_one_that_was_asked_first(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anyrerank")
    reranker, events = failing_over(mode)
    for _ in range(3):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert [(event.provider, event.model) for event in events] == [("fake", "first")] * 3
    assert [event.response and event.response.answered_by for event in events] == ["fake/spare"] * 3
    assert [len(event.attempts) for event in events] == [2, 1, 1]
    calls = [record for record in caplog.records if record.getMessage().startswith("rerank ")]
    assert [record.getMessage().partition(" attempts")[2] for record in calls] == [", answered by fake/spare"] * 3
    known = calls[1].anyrerank  # type: ignore[attr-defined]
    assert (known["model"], known["answered_by"]) == ("first", "fake/spare")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    answered = "fake/spare answered as a fallback for fake/first: fake/first: RateLimitError"
    skipped = f"{answered}: all deployments of fake/first are cooling down or rate limited"
    assert [text.partition("; the first one")[0] for text in warnings] == [
        "fake/first starts to cool down: RateLimitError: wait",
        f"{answered} 429: wait",
        skipped,
    ]


def test_hook_gets_the_error_of_a_degraded_call(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    (event,) = events_of(mode, [LIMITED], on_error="passthrough")
    assert event.response is not None
    assert (event.response.degraded, event.response.answered_by) == (True, None)
    assert isinstance(event.error, RateLimitError)
    assert [attempt.status for attempt in event.error.attempts] == [429]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    expected = (
        "1 attempts, reranking failed; returning the incoming order: RateLimitError: Cohere answered 429: slow down"
    )
    assert expected in record.getMessage()
    known = record.anyrerank  # type: ignore[attr-defined]
    assert (known["degraded"], known["error"], known["status"]) == (True, "RateLimitError", 429)
    assert "answered_by" not in known


def test_degraded_call_that_sent_nothing_is_one_to_the_first_model(mode: Mode) -> None:
    events: list[CallEvent] = []
    options: Any = {"on_error": "passthrough", "hooks": [events.append], "api_key": None}
    response = mode.rerank(mode.reranker(fallbacks=["jina_ai/m", "voyage/rerank-2.5"], **options), QUERY, DOCUMENTS)
    (event,) = events
    assert (event.provider, event.model, event.attempts) == ("cohere", "rerank-v3.5", ())
    assert (response.provider, response.model, response.answered_by) == ("cohere", "rerank-v3.5", None)
    assert isinstance(event.error, FallbackError)


@pytest.mark.parametrize("face", FACES, ids=str)
def test_adapter_passes_the_ids_of_documents(face: Face) -> None:
    events: list[CallEvent] = []
    items = [face.item("a 0.5"), face.item("b 0.9")]
    face.rerank(face.make(Wire(), hooks=[events.append]), items)
    (event,) = events
    assert list(event.ids) == [item.id if face.framework == "langchain" else item.node.node_id for item in items]


# The logger


def test_call_is_logged_at_info(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyrerank")
    events_of(mode, [OK], user="ann", metadata={"team": "search"}, top_n=2)
    (record,) = [record for record in caplog.records if record.name == "anyrerank"]
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith("rerank cohere/rerank-v3.5: 3 documents, 0.")
    known = record.anyrerank  # type: ignore[attr-defined]
    assert (
        known.items()
        >= {
            "provider": "cohere",
            "model": "rerank-v3.5",
            "documents": 3,
            "results": 2,
            "top_n": 2,
            "user": "ann",
            "metadata": {"team": "search"},
            "answered_by": "cohere/rerank-v3.5",
            "request_id": "rq-1",
            "search_units": 1,
            "cost": 0.002,
        }.items()
    )
    assert known["attempts"][0]["status"] == 200
    assert "error" not in known
    for text in (QUERY, *DOCUMENTS, KEY):
        assert text not in f"{record.getMessage()} {known}"


FAILED = {"response": {"status": 500, "headers": {"x-request-id": "rq-2"}, "json": {"message": "out of order"}}}


def test_failed_call_is_logged_as_a_warning_with_status_message_and_request_id(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    events_of(mode, [FAILED], hooks=[])
    (record,) = [record for record in caplog.records if record.name == "anyrerank"]
    assert record.levelno == logging.WARNING
    for words in ("cohere/rerank-v3.5", "1 attempts", "InternalServerError", "out of order", "status=500", "rq-2"):
        assert words in record.getMessage()
    known = record.anyrerank  # type: ignore[attr-defined]
    assert (known["error"], known["status"], known["request_id"]) == ("InternalServerError", 500, "rq-2")
    assert "out of order" in known["message"]
    for text in (QUERY, *DOCUMENTS, KEY):
        assert text not in f"{record.getMessage()} {known}"


def test_error_of_a_guardrail_is_logged_without_its_message(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(query: str) -> str:
        raise GuardrailRaisedError(f"not {query}")

    (event,) = events_of(mode, [], guardrails=[refuse])
    assert isinstance(event.error, GuardrailRaisedError)
    (record,) = caplog.records
    assert record.getMessage().endswith(", GuardrailRaisedError")
    assert QUERY not in f"{record.getMessage()} {record.anyrerank}"  # type: ignore[attr-defined]


def test_cancelled_call_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(_cancelled())
    assert [record for record in caplog.records if record.name == "anyrerank"] == []
    with caplog.at_level(logging.INFO, "anyrerank"):
        asyncio.run(_cancelled())
    (record,) = [record for record in caplog.records if record.name == "anyrerank"]
    assert record.levelno == logging.INFO
    assert record.getMessage().endswith(", CancelledError")


async def _cancelled() -> list[CallEvent]:
    """The events of a call that is cancelled while the server is silent."""
    events: list[CallEvent] = []
    reached = asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with httpx.AsyncClient(transport=httpx.MockTransport(hang)) as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, hooks=[events.append])
        task = asyncio.create_task(reranker.arerank(QUERY, DOCUMENTS))
        await reached.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return events


def test_content_is_logged_on_request(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyrerank")
    events_of(mode, [OK], hooks=[LogCalls(content=True)])
    plain, full = [record.anyrerank for record in caplog.records if record.name == "anyrerank"]  # type: ignore[attr-defined]
    assert "query" not in plain
    assert (full["query"], full["texts"]) == (QUERY, DOCUMENTS)


def test_call_is_not_logged_by_default(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    events_of(mode, [OK])
    assert [record for record in caplog.records if record.name == "anyrerank"] == []


async def async_hook(event: CallEvent) -> None:
    """An async hook, which nothing awaits."""


class AsyncHook:
    async def __call__(self, event: CallEvent) -> None:
        """The same as an object."""


@pytest.mark.parametrize("hook", [async_hook, AsyncHook()], ids=["function", "object"])
def test_async_hook_is_refused(hook: Any) -> None:
    with pytest.raises(BadRequestError, match="plain \\(not async\\) functions"):
        Reranker("local/lexical", hooks=[hook])


def test_logger_that_fails_does_not_affect_the_call(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    def fails(record: logging.LogRecord) -> bool:
        if record.levelno == logging.INFO:
            raise KeyError("made by the test")
        return True

    logger = logging.getLogger("anyrerank")
    caplog.set_level(logging.INFO, "anyrerank")
    logger.addFilter(fails)
    try:
        response = mode.rerank(mode.reranker("local/lexical"), QUERY, DOCUMENTS)
    finally:
        logger.removeFilter(fails)
    assert len(response.results) == len(DOCUMENTS)
    assert [record.getMessage() for record in caplog.records] == ["hook LogCalls raised KeyError, which was ignored"]
