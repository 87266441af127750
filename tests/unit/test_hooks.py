"""What hooks and the logger are told of a call, and that a hook never breaks one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest
from tests.support.frameworks import FACES, Face, Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering
from tests.support.loopback import Line, Loopback

from anyrerank import BadRequestError, InternalServerError, RateLimitError, Reranker, RerankError
from anyrerank.hooks import CallEvent, LogCalls

ROWS = [
    {"index": 1, "relevance_score": 0.9},
    {"index": 0, "relevance_score": 0.2},
    {"index": 2, "relevance_score": 0.1},
]
BODY = {"id": "c-1", "results": ROWS, "meta": {"billed_units": {"search_units": 1}}}
LIMITED = {"response": {"status": 429, "headers": {"retry-after": "0"}, "json": {"message": "slow down"}}}
OK = {"response": {"status": 200, "headers": {"x-request-id": "rq-1"}, "json": BODY}}


def told(mode: Mode, exchanges: list[Any], **options: Any) -> list[CallEvent]:
    """What a hook hears of one call."""
    events: list[CallEvent] = []
    client = Replay(exchanges).client(mode)
    reranker = mode.reranker(**{"http_client": client, "hooks": [events.append], **options})
    with suppress(RerankError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    return events


def test_a_hook_hears_of_a_call_when_it_is_over(mode: Mode, waits: list[float]) -> None:
    (event,) = told(mode, [LIMITED, OK], max_retries=1, user="ann", metadata={"team": "search"}, top_n=2)
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


def test_a_hook_hears_of_a_failure(mode: Mode) -> None:
    (event,) = told(mode, [LIMITED])
    assert isinstance(event.error, RateLimitError)
    assert event.response is None
    assert event.cost is None
    assert len(event.attempts) == 1


def test_a_hook_hears_of_what_was_not_sent(mode: Mode) -> None:
    events: list[CallEvent] = []
    with pytest.raises(BadRequestError):
        mode.rerank(mode.reranker(hooks=[events.append]), " ", DOCUMENTS)
    (event,) = events
    assert isinstance(event.error, BadRequestError)
    assert (event.query, event.documents, event.attempts) == ("", (), ())


def test_a_hook_hears_what_the_guardrails_left(mode: Mode) -> None:
    (event,) = told(mode, [OK], guardrails=[str.upper])
    assert event.query == QUERY.upper()
    (stopped,) = told(mode, [], guardrails=[lambda query: 1 / 0])
    assert stopped.query == ""
    assert QUERY not in f"{stopped!r} {stopped.error!r}"


def test_a_hook_that_fails_is_logged_and_breaks_nothing(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[CallEvent] = []

    def broken(event: CallEvent) -> None:
        raise ValueError(event.query)

    reranker = mode.reranker(http_client=answering(BODY).client(mode), hooks=[broken, heard.append])
    assert mode.rerank(reranker, QUERY, DOCUMENTS).id == "c-1"
    assert len(heard) == 1
    (record,) = caplog.records
    assert record.getMessage() == "hook broken raised ValueError, which was ignored"
    assert QUERY not in caplog.text


def test_every_call_of_many_is_told(mode: Mode) -> None:
    events: list[CallEvent] = []
    reranker = mode.reranker("local/lexical", hooks=[events.append])
    mode.rerank_many(reranker, ["one", "two", "three"], [DOCUMENTS] * 3)
    assert sorted(event.query for event in events) == ["one", "three", "two"]


async def test_a_call_that_is_cancelled_is_told(serve: Any) -> None:
    events: list[CallEvent] = []
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(line: Line) -> None:
        loop.call_soon_threadsafe(reached.set)
        line.client_left()

    server: Loopback = serve(hang)
    async with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, hooks=[events.append]) as reranker:
        task = asyncio.create_task(reranker.arerank(QUERY, DOCUMENTS))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (event,) = events
    assert isinstance(event.error, asyncio.CancelledError)


@pytest.mark.parametrize("face", FACES, ids=str)
def test_an_adapter_has_hooks(face: Face) -> None:
    events: list[CallEvent] = []
    face.rerank(face.make(Wire(), hooks=[events.append], user="ann"), ["a 0.5", "b 0.9"])
    (event,) = events
    assert (event.user, len(event.documents)) == ("ann", 2)


@pytest.mark.parametrize("value", [print, "print", [1], None])
def test_hooks_are_a_list_of_functions(value: Any) -> None:
    with pytest.raises(BadRequestError, match="hooks must be a list of plain"):
        Reranker("local/lexical", hooks=value)


# The logger


def test_a_record_for_each_call(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyrerank")
    told(mode, [OK], user="ann", metadata={"team": "search"}, top_n=2)
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


def test_the_record_of_a_failure(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyrerank")
    told(mode, [{"response": {"status": 500, "headers": {"x-request-id": "rq-2"}, "json": {}}}])
    (record,) = [record for record in caplog.records if record.name == "anyrerank"]
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert all(part in message for part in ("1 attempts", "InternalServerError", "status=500", "request_id=rq-2"))
    assert record.anyrerank["error"] == InternalServerError.__name__  # type: ignore[attr-defined]
    assert record.anyrerank["request_id"] == "rq-2"  # type: ignore[attr-defined]


def test_content_is_logged_when_it_is_asked_for(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyrerank")
    told(mode, [OK], hooks=[LogCalls(content=True)])
    plain, full = [record.anyrerank for record in caplog.records if record.name == "anyrerank"]  # type: ignore[attr-defined]
    assert "query" not in plain
    assert (full["query"], full["texts"]) == (QUERY, DOCUMENTS)


def test_nothing_is_logged_where_nobody_listens(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    told(mode, [OK])
    assert [record for record in caplog.records if record.name == "anyrerank"] == []


async def listens(event: CallEvent) -> None:
    """What nothing would await."""


class Listens:
    async def __call__(self, event: CallEvent) -> None:
        """Likewise."""


@pytest.mark.parametrize("hook", [listens, Listens()], ids=["function", "object"])
def test_an_asynchronous_hook_is_refused(hook: Any) -> None:
    with pytest.raises(BadRequestError, match="hooks must be a list of plain"):
        Reranker("local/lexical", hooks=[hook])


def test_a_logger_that_fails_breaks_no_call(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
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
