"""What the ledger records of a call."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.frameworks import Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay
from tests.support.ledger_worker import COHERE, FAILED, NEVER, NOON, answer, call, read, tried, users

from anyrerank import BadRequestError, MemoryCache, RateLimitError, RerankError, Router
from anyrerank._core.types import BilledUnits, Meta
from anyrerank.errors import APIConnectionError
from anyrerank.hooks import CallEvent
from anyrerank.ledger import Ledger

OK = {"index": 0, "relevance_score": 0.9}, {"index": 1, "relevance_score": 0.2}, {"index": 2, "relevance_score": 0.1}
ANSWER = {"response": {"status": 200, "json": {"results": OK, "meta": {"billed_units": {"search_units": 3}}}}}
LIMITED = {"response": {"status": 429, "headers": {"retry-after": "0"}, "json": {"message": "slow down"}}}


def recorded(db: Path, *events: CallEvent) -> list[dict[str, Any]]:
    """The rows of calls in the database."""
    with Ledger(db, interval=NEVER) as ledger:
        for event in events:
            ledger(event)
    return read(db)


def values(rows: Sequence[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def test_call_with_one_attempt_is_one_row(db: Path) -> None:
    (row,) = recorded(db, call("ann", metadata={"tags": ["rag", "beta", "rag"], "team": "secret"}))
    key = row.pop("call")
    assert row == {
        "part": 0,
        "time": NOON,
        "day": "2026-11-01",
        "end_user": "ann",
        "model": COHERE,
        "deployment": COHERE,
        "provider": "cohere",
        "requests": 1,
        "failures": 0,
        "documents": 2,
        "search_units": 1,
        "tokens": None,
        "cost": 0.002,
        "estimated": 0,
        "seconds": 0.5,
        "error": None,
        "cached": 0,
        "saved": 0.0,
    }
    assert [(tag["call"], tag["tag"]) for tag in read(db, "anyrerank_tags")] == [(key, "rag"), (key, "beta")]


@pytest.mark.parametrize("copied", [False, True], ids=["in the spool", "in the database"])
def test_query_documents_and_metadata_are_never_stored(db: Path, copied: bool) -> None:
    with Ledger(db, interval=NEVER) as ledger:
        ledger(call("ann", metadata={"tags": ["rag"], "team": "secret"}))
        if copied:
            ledger.flush()
        content = b"".join(file.read_bytes() for file in db.parent.rglob("*") if file.is_file())
    assert b"ann" in content
    assert b"secret" not in content


def test_attempts_at_one_deployment_are_summed(db: Path) -> None:
    rows = recorded(db, call("ann", [tried(**FAILED), tried(estimated=True)]))
    names = ("requests", "failures", "cost", "estimated", "seconds", "error", "search_units")
    assert values(rows, *names) == [(2, 1, 0.002, 1, 1.0, None, 1)]


def test_fallback_is_a_second_row_without_the_tags(db: Path) -> None:
    attempts = [tried(**FAILED), tried("voyage/rerank-2", cost=0.01)]
    rows = recorded(db, call("ann", attempts, metadata={"tags": ["rag"]}))
    names = ("part", "model", "deployment", "provider", "failures", "cost", "error", "search_units")
    assert values(rows, *names) == [
        (0, COHERE, COHERE, "cohere", 1, 0.0, "RateLimitError", None),
        (1, COHERE, "voyage/rerank-2", "voyage", 0, 0.01, None, 1),
    ]
    assert len({row["call"] for row in rows}) == 1
    assert len(read(db, "anyrerank_tags")) == 1


def test_deployments_of_a_router_have_their_ids(db: Path) -> None:
    attempts = [tried(model_id="east", **FAILED), tried(model_id="west")]
    rows = recorded(db, call("ann", attempts, model_group="best"))
    assert values(rows, "model", "deployment", "provider", "error") == [
        ("best", "east", "cohere", "RateLimitError"),
        ("best", "west", "cohere", None),
    ]


@pytest.mark.parametrize(
    ("attempt", "error", "expected"),
    [
        (tried(**FAILED), RateLimitError("slow down"), (1, 0.0, 0, "RateLimitError")),
        (
            tried(status=None, error="APITimeoutError", cost=None),
            APIConnectionError("late"),
            (1, 0.0, 1, "APITimeoutError"),
        ),
        (tried(), asyncio.CancelledError(), (0, 0.002, 0, "CancelledError")),
        (tried(error="APIResponseValidationError"), RerankError("no"), (1, 0.002, 0, "APIResponseValidationError")),
    ],
    ids=["rate limited", "timed out", "cancelled", "invalid answer"],
)
def test_failed_call_has_its_error_and_no_units(
    db: Path, attempt: Any, error: BaseException, expected: tuple[Any, ...]
) -> None:
    rows = recorded(db, call("ann", [attempt], error=error))
    assert values(rows, "failures", "cost", "estimated", "error") == [expected]
    assert values(rows, "search_units", "tokens") == [(None, None)]


def test_degraded_call_has_the_error_of_its_attempt(db: Path) -> None:
    attempts = [tried(**FAILED)]
    rows = recorded(db, call("ann", attempts, response=answer(attempts, degraded=True)))
    assert values(rows, "deployment", "error", "search_units") == [(COHERE, "RateLimitError", None)]


def test_answer_from_the_cache_costs_nothing(db: Path) -> None:
    rows = recorded(db, call("ann", [], response=answer(cached=2, saved=0.004)))
    names = ("deployment", "provider", "requests", "cost", "cached", "saved", "documents")
    assert values(rows, *names) == [(COHERE, "cohere", 0, 0.0, 2, 0.004, 2)]


def test_call_that_sent_no_request_is_not_recorded(db: Path) -> None:
    assert recorded(db, call("ann", [], error=BadRequestError("blank"))) == []


def test_unknown_cost_is_null(db: Path) -> None:
    rows = recorded(db, call("ann", [tried(cost=None)]), call("bob", [tried(), tried(cost=None)]))
    assert values(rows, "cost") == [(None,), (None,)]


@pytest.mark.parametrize("tags", [None, [], "rag", {"rag": 1}, 7, [7, None]])
def test_tags_that_are_no_list_of_strings_are_ignored(db: Path, tags: Any) -> None:
    (row,) = recorded(db, call("ann", metadata={"tags": tags}))
    assert row["end_user"] == "ann"
    assert read(db, "anyrerank_tags") == []


@pytest.mark.parametrize(
    ("name", "stored"),
    [("a\0b", "a\ufffdb"), ("a\ud800b", "a?b"), ("a\\u0000b", "a\\u0000b"), ("l'été\n🌞\u2028\r", "l'été\n🌞\u2028\r")],
)
def test_characters_that_a_database_cannot_store_are_replaced(db: Path, name: str, stored: str) -> None:
    recorded(db, call(name, metadata={"tags": [name]}), call("ann"))
    assert users(db) == sorted([stored, "ann"])
    assert [row["tag"] for row in read(db, "anyrerank_tags")] == [stored]


def test_numbers_that_are_not_finite_are_null(db: Path) -> None:
    (row,) = recorded(db, call("ann", [tried(cost=math.nan)], documents=[""], response=answer(saved=math.inf)))
    assert values([row], "cost", "saved") == [(None, None)]


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 - 1, 2**64])
def test_units_beyond_an_integer_column_are_rounded(db: Path, number: int) -> None:
    meta = Meta(billed_units=BilledUnits(search_units=number, total_tokens=number))
    (row,) = recorded(db, call("ann", response=answer([tried()], meta=meta)))
    assert values([row], "search_units", "tokens") == [(float(number), float(number))]


def test_day_is_the_day_in_utc(db: Path) -> None:
    rows = recorded(db, call("a", started=NOON - 43_201), call("b", started=NOON + 43_199.9))
    assert values(rows, "day") == [("2026-10-31",), ("2026-11-01",)]


def test_reranker_reports_its_calls(db: Path, mode: Mode, waits: list[float]) -> None:
    with Ledger(db) as ledger:
        client = Replay([LIMITED, ANSWER]).client(mode)
        options: dict[str, Any] = {"user": "ann", "metadata": {"tags": ["rag"]}, "hooks": [ledger], "max_retries": 1}
        mode.rerank(mode.reranker(http_client=client, **options), QUERY, DOCUMENTS)
        (spend,) = ledger.spend(("user", "model", "tag"))
        assert spend.group == {"user": "ann", "model": COHERE, "tag": "rag"}
        assert (spend.calls, spend.requests, spend.failures, spend.documents) == (1, 2, 1, 3)
        assert (spend.search_units, spend.cost) == (3, 0.006)


def test_reranker_reports_failed_calls_but_not_refused_ones(db: Path, mode: Mode) -> None:
    with Ledger(db) as ledger:
        reranker = mode.reranker(http_client=Replay([LIMITED]).client(mode), hooks=[ledger])
        for query in (QUERY, " "):
            with pytest.raises(RerankError):
                mode.rerank(reranker, query, DOCUMENTS)
        (spend,) = ledger.spend("deployment")
    assert (spend.calls, spend.failures, spend.cost) == (1, 1, 0.0)


def test_router_reports_an_answer_from_the_cache_for_its_deployment(db: Path) -> None:
    entry = {"model_name": "r", "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": KEY}}
    with Ledger(db) as ledger, httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        router = Router(
            [{**entry, "model_info": {"id": "mine"}}], http_client=client, cache=MemoryCache(), hooks=[ledger]
        )
        for _ in range(2):
            router.rerank("r", QUERY, DOCUMENTS)
        (spend,) = ledger.spend(by="deployment")
    assert (spend.group, spend.calls, spend.requests, spend.saved) == ({"deployment": "mine"}, 2, 1, 0.002)
