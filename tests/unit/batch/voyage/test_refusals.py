"""Batches through Voyage's Batch API that fail, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.batch import CANDIDATES, expected, ids, parts, row, voyage, write_rows
from tests.support.clock import Clock
from tests.support.voyage_batches import EXPIRED, VoyageStandIn, refused
from tests.unit.batch.voyage.runs import MODEL, ROWS

from anyrerank import BadRequestError, MemoryCache, Reranker
from anyrerank.batch import Report, run


def test_a_vendor_that_is_full_is_waited_for(vendor: VoyageStandIn, go: Callable[..., Report], clock: Clock) -> None:
    vendor.capacity, vendor.polls = 1, 1
    began = clock.now
    assert go().complete
    assert len(vendor.batches) == 3
    assert set(vendor.paid.values()) == {1}
    assert clock.now - began >= 2 * 1800


@pytest.mark.parametrize("ends_as", ["completed", "partially_completed"])
def test_rows_that_were_not_executed_are_sent_again_and_only_those(
    ends_as: str, vendor: VoyageStandIn, go: Callable[..., Report], out: Path
) -> None:
    vendor.ends_as = ends_as
    vendor.line = lambda query, number: EXPIRED if number < 3 and int(query[22:-1]) % 4 == 0 else None
    report = go()
    assert (report.exit_code, report.attempts) == (0, ROWS)
    assert set(vendor.paid.values()) == {1}
    assert [len(vendor.lines_of(each)) for each in vendor.batches] == [10, 10, 5, 3, 2, 2]
    assert ids(out) == expected(ROWS)


def test_rows_that_fail_for_a_passing_reason_are_errors_after_three_batches(
    vendor: VoyageStandIn, go: Callable[..., Report], out: Path
) -> None:
    failing = {3: refused(500, "Internal Server Error"), 13: EXPIRED}
    vendor.line = lambda query, _number: failing.get(int(query[22:-1]))
    report = go()
    assert (report.exit_code, dict(report.errors)) == (3, {"InternalServerError": 1, "APITimeoutError": 1})
    found = [parts(out)[number] for number in failing]
    assert [(each["http_status"], each["attempts"], each["cost"]) for each in found] == [(500, 1, 0.0), (None, 0, 0.0)]
    assert len(vendor.batches) == 3 + 2 + 2
    vendor.line = lambda _query, _number: None
    assert go(retry_errors=True).exit_code == 0
    assert set(vendor.paid.values()) == {1}


def test_errors_of_rows_are_written_without_the_texts(
    vendor: VoyageStandIn, go: Callable[..., Report], out: Path
) -> None:
    vendor.line = lambda query, _number: refused(400, f"bad: {query}") if "(7)" in query else None
    assert go().exit_code == 3
    failed = parts(out)[7]
    assert (failed["error"], failed["http_status"], failed["ranking"]) == ("BadRequestError", 400, None)
    assert "planet" not in failed["message"]
    assert len(vendor.batches) == 3


def test_a_row_that_is_too_large_for_the_vendor_is_an_error_row(
    vendor: VoyageStandIn, go: Callable[..., Report], out: Path
) -> None:
    problem = refused(400, "The number of tokens exceeds the limit.")
    vendor.line = lambda query, _number: problem if "(7)" in query else None
    assert go().exit_code == 3
    failed = parts(out)[7]
    assert (failed["error"], failed["attempts"]) == ("BadRequestError", 1)
    assert "requests of a batch are not halved" in failed["message"]
    assert len(vendor.batches) == 3


def test_bad_rows_are_written_and_not_submitted(vendor: VoyageStandIn, tmp_path: Path, out: Path) -> None:
    blank = {"id": "blank", "query": "q", "candidates": [" ", ""]}
    path = write_rows(
        tmp_path / "rows.jsonl",
        [row(0), "no json", {"id": "none", "query": " ", "candidates": CANDIDATES}, blank, row(1)],
    )
    report = run(path, out, voyage(vendor.url), via="batch-api", chunk_rows=2)
    assert (report.exit_code, dict(report.errors)) == (3, {"BadRequestError": 2})
    assert [each.get("error") for each in parts(out)] == [None, "BadRequestError", "BadRequestError", None, None]
    assert [len(vendor.lines_of(each)) for each in vendor.batches] == [1, 1]


def test_a_batch_that_is_refused_stops_the_run_without_its_texts(
    vendor: VoyageStandIn, go: Callable[..., Report], out: Path
) -> None:
    vendor.ends_as = "failed"
    report = go()
    assert (report.exit_code, report.rows) == (4, 0)
    assert report.stopped is not None
    assert "failed: invalid_request in line 2" in report.stopped
    assert vendor.deleted == []  # so that the line can be looked at
    assert "planet" not in report.stopped
    vendor.ends_as = "completed"
    assert go().exit_code == 0
    assert ids(out) == expected(ROWS)


def test_a_batch_that_was_cancelled_stops_the_run_and_keeps_what_was_paid(
    vendor: VoyageStandIn, go: Callable[..., Report], out: Path
) -> None:
    vendor.ends_as = "cancelled"
    report = go()
    assert (report.exit_code, report.rows) == (4, 13)
    assert "cancelled" in (report.stopped or "")
    vendor.ends_as = "completed"
    assert go().complete
    assert set(vendor.paid.values()) == {1}
    assert ids(out) == expected(ROWS)


@pytest.mark.parametrize("answer", [(500, {"detail": "down"}), (200, {"data": []})])
def test_a_vendor_that_does_not_recover_stops_the_run(
    answer: tuple[int, Any], vendor: VoyageStandIn, go: Callable[..., Report], clock: Clock
) -> None:
    vendor.server.handler = lambda exchange: exchange.respond(*answer)
    report = go(max_wait=100)
    assert (report.exit_code, report.rows) == (4, 0)
    assert report.stopped


def test_an_upload_that_is_refused_quotes_nothing(vendor: VoyageStandIn, go: Callable[..., Report]) -> None:
    vendor.server.handler = lambda exchange: exchange.respond(400, {"detail": f"bad line: {CANDIDATES[0]}"})
    report = go()
    assert report.exit_code == 4
    assert "red planet" not in (report.stopped or "")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("cohere/rerank-v3.5", {}, "only Voyage AI has one"),
        ("local/lexical", {}, "only Voyage AI has one"),
        ("voyage/rerank-2", {}, "takes rerank-2.5 and rerank-2.5-lite, not rerank-2"),
        (MODEL, {"fallbacks": ["local/lexical"]}, "one model"),
        (MODEL, {"cache": MemoryCache()}, "a cache"),
        (MODEL, {"guardrails": [str.upper]}, "guardrails"),
    ],
)
def test_what_a_batch_api_cannot_do_is_refused_before_anything_is_sent(
    model: str, options: dict[str, Any], message: str, rows: Path, out: Path
) -> None:
    with pytest.raises(BadRequestError, match=message):
        run(rows, out, Reranker(model, **{"api_key": None if "local" in model else "k", **options}), via="batch-api")
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"via": "fax"}, "via must be"), ({"rpm": 5.0}, "rpm"), ({"chunk_rows": 100_001}, "at most 100,000")],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str, go: Callable[..., Report]) -> None:
    with pytest.raises(BadRequestError, match=message):
        go(**arguments)
