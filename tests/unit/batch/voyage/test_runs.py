"""Batches through Voyage's Batch API: what is submitted, what comes back, and what a kill costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.batch import expected, ids, parts, row, voyage, write_rows
from tests.support.clock import Clock
from tests.support.voyage_batches import VoyageStandIn
from tests.unit.batch.voyage.runs import MODEL, ROWS

from anyrerank import BudgetExceededError, Reranker, Router
from anyrerank.batch import Report, arun, estimate, run, status
from anyrerank.hooks import CallEvent
from anyrerank.testing import Exchange, StubServer


def test_every_chunk_is_a_batch_and_every_row_is_answered_once(
    vendor: VoyageStandIn, go: Callable[..., Report], out: Path
) -> None:
    report = go()
    assert (report.exit_code, report.rows, report.waiting, report.attempts) == (0, ROWS, 0, ROWS)
    assert [each["id"] for each in parts(out)] == [f"r{number}" for number in range(ROWS)]
    assert set(vendor.paid.values()) == {1}
    assert [len(vendor.lines_of(each)) for each in vendor.batches] == [10, 10, 5]
    assert {json.dumps(each["request_params"]) for each in vendor.created} == {'{"model": "rerank-2.5"}'}
    assert len({each["metadata"]["anyrerank"] for each in vendor.created}) == 3


def test_rows_are_what_single_requests_give_at_a_third_less(
    vendor: VoyageStandIn, rows: Path, out: Path, tmp_path: Path
) -> None:
    events: list[CallEvent] = []
    options: dict[str, Any] = {"top_n": 2, "truncate": "NONE"}
    with StubServer() as server:
        single = Reranker(MODEL, api_base=server.url, api_key="pa-key", **options)
        run(rows, tmp_path / "single", single, chunk_rows=10)
    run(rows, out, voyage(vendor.url, hooks=[events.append], **options), chunk_rows=10, via="batch-api")
    names = ("id", "ranking", "scores", "error", "attempts", "cost_estimated", "deployment")
    there, here = parts(tmp_path / "single"), parts(out)
    assert [[each[name] for name in names] for each in here] == [[each[name] for name in names] for each in there]
    assert [each["cost"] for each in here] == pytest.approx([0.67 * each["cost"] for each in there])
    assert sum(each["cost"] for each in here) == pytest.approx(status(out).cost)
    assert sum(event.response.cost or 0 for event in events if event.response) == pytest.approx(status(out).cost)
    assert vendor.created[0]["request_params"] == {"model": "rerank-2.5", "truncation": False}
    assert {each["request_id"] for each in here} == {each.id for each in vendor.batches}


def test_the_files_of_a_batch_are_deleted_once_its_results_are_on_the_disk(
    vendor: VoyageStandIn, go: Callable[..., Report], out: Path
) -> None:
    written: list[int] = []

    def look(exchange: Exchange) -> None:
        if exchange.request.target == "/v1/files/delete":
            written.append(status(out).rows)
        vendor.handle(exchange)

    vendor.server.handler = look
    assert go().complete
    assert written == [10, 20, 25]
    assert sorted(vendor.deleted) == sorted(vendor.files)


def test_files_that_cannot_be_deleted_are_named_in_a_warning(
    vendor: VoyageStandIn, go: Callable[..., Report], caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(exchange: Exchange) -> None:
        if exchange.request.target == "/v1/files/delete":
            exchange.respond(500, {"detail": "Which planet is red?"})
        else:
            vendor.handle(exchange)

    vendor.server.handler = refuse
    assert go().exit_code == 0
    assert len(vendor.batches) == 3
    warnings = [each.getMessage() for each in caplog.records if "stay at the vendor" in each.getMessage()]
    assert [batch.id in warning for batch, warning in zip(vendor.batches, warnings, strict=True)] == [True] * 3


def test_a_finished_job_asks_nothing(vendor: VoyageStandIn, go: Callable[..., Report]) -> None:
    go()
    seen = len(vendor.server.requests)
    assert go().complete
    assert len(vendor.server.requests) == seen


def test_the_vendor_is_asked_again_until_the_batch_has_ended(
    vendor: VoyageStandIn, go: Callable[..., Report], clock: Clock
) -> None:
    vendor.polls = 3
    waiting: list[int] = []
    assert go(progress=lambda progress: waiting.append(progress.waiting)).complete
    assert set(clock.waits) == {30.0}
    assert ROWS in waiting


def test_what_is_submitted_is_collected_by_the_next_run(
    vendor: VoyageStandIn, go: Callable[..., Report], out: Path, clock: Clock
) -> None:
    vendor.polls = 1
    assert _interrupted(vendor, go).exit_code == 4
    assert (status(out).rows, status(out).waiting, status(out).complete) == (0, ROWS, False)
    assert "25 rows at the batch API" in str(status(out))
    assert go().complete
    assert len(vendor.batches) == 3
    assert set(vendor.paid.values()) == {1}
    assert ids(out) == expected(ROWS)
    assert status(out).waiting == 0


def _interrupted(vendor: VoyageStandIn, go: Callable[..., Report]) -> Report:
    """A run that waits for the vendor, and ends with what it asks then."""

    def answer(exchange: Exchange) -> None:
        if "/batches/" in exchange.request.target:
            exchange.respond(403, {"detail": "stop here"})
        else:
            vendor.handle(exchange)

    vendor.server.handler = answer
    report = go()
    vendor.server.handler = vendor.handle
    return report


def test_a_batch_whose_id_was_lost_is_found_by_its_metadata(
    vendor: VoyageStandIn, go: Callable[..., Report], out: Path
) -> None:
    """The answer to the third submission does not arrive, and the process ends."""

    def disconnect(exchange: Exchange) -> None:
        if (exchange.request.method, exchange.request.target) == ("POST", "/v1/batches") and len(vendor.batches) == 2:
            vendor._create(exchange.request.json)
            exchange.disconnect()
        else:
            vendor.handle(exchange)

    vendor.server.handler = disconnect
    assert go(max_wait=0.0).exit_code == 4
    assert len(vendor.batches) == 3
    vendor.server.handler = vendor.handle
    assert go().complete
    assert len(vendor.batches) == 3
    assert set(vendor.paid.values()) == {1}
    assert ids(out) == expected(ROWS)


def test_a_submission_without_an_answer_is_looked_for_before_it_is_sent_again(
    vendor: VoyageStandIn, go: Callable[..., Report], clock: Clock
) -> None:
    dropped: list[str] = []

    def disconnect(exchange: Exchange) -> None:
        is_created = (exchange.request.method, exchange.request.target) == ("POST", "/v1/batches")
        if is_created and not dropped:
            dropped.append(vendor._create(exchange.request.json)[1]["id"])
            exchange.disconnect()
        else:
            vendor.handle(exchange)

    vendor.server.handler = disconnect
    assert go().complete
    assert len(vendor.batches) == 3
    assert set(vendor.paid.values()) == {1}


def test_a_row_with_many_candidates_is_several_requests_of_a_batch(
    vendor: VoyageStandIn, tmp_path: Path, out: Path
) -> None:
    candidates = [f"text {number}" for number in range(2500)]
    path = write_rows(tmp_path / "rows.jsonl", [{"id": "long", "query": "text 2400", "candidates": candidates}])
    assert run(path, out, voyage(vendor.url, top_n=3), via="batch-api").complete
    (found,) = parts(out)
    assert (found["ranking"][0], len(found["ranking"]), found["attempts"]) == (2400, 3, 3)
    assert [len(each["body"]["documents"]) for each in vendor.lines_of(vendor.batches[0])] == [1000, 1000, 500]


def test_files_may_be_elsewhere_and_the_key_does_not_go_there(vendor: VoyageStandIn, go: Callable[..., Report]) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.respond(200, vendor.files[exchange.request.target.strip("/")])

    with StubServer(handler=answer) as files:
        vendor.redirects_to = files.url
        assert go().complete
        assert files.requests
        assert all("authorization" not in each.headers for each in files.requests)


def test_the_price_and_the_hours_are_said_before_anything_is_sent(vendor: VoyageStandIn, rows: Path, out: Path) -> None:
    usual = estimate(rows, out, voyage(vendor.url))
    found = estimate(rows, out, voyage(vendor.url), via="batch-api")
    assert usual.dollars is not None
    assert found.dollars == pytest.approx(0.67 * usual.dollars)
    assert (found.tokens, found.hours) == (usual.tokens, 12.0)
    assert "(33% less through the Batch API), within 12 hours" in str(found)
    assert vendor.server.requests == []


def test_the_price_of_the_caller_is_reduced_too(vendor: VoyageStandIn, rows: Path, out: Path) -> None:
    found = estimate(rows, out, voyage(vendor.url, input_cost_per_query=0.01), via="batch-api")
    assert found.dollars == pytest.approx(ROWS * 0.0067)


def test_the_budget_is_kept_by_chunk_and_counts_what_the_vendor_has(
    vendor: VoyageStandIn, rows: Path, out: Path, go: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyrerank.batch.submitting._MOST_OPEN", 1)
    found = estimate(rows, out, voyage(vendor.url), via="batch-api").dollars
    assert found is not None
    with pytest.raises(BudgetExceededError):
        go(budget=0.99 * found)
    assert vendor.server.requests == []
    vendor.tokens = 100  # in each answer, more than was estimated
    report = go(budget=1.01 * found)
    assert (report.exit_code, report.rows, report.waiting) == (4, 10, 0)
    assert "more than the budget" in (report.stopped or "")
    assert report.cost == pytest.approx(10 * 100 * 0.67 * 0.05e-6)
    assert go(budget=100.0).complete
    assert set(vendor.paid.values()) == {1}


def test_another_way_is_another_job(go: Callable[..., Report]) -> None:
    go()
    with pytest.raises(Exception, match="via was 'batch-api' and is None"):
        go(via="requests")


def test_a_router_with_one_deployment_runs(vendor: VoyageStandIn, rows: Path, out: Path) -> None:
    entry = {"model": MODEL, "api_base": vendor.url, "api_key": "pa-key"}
    router = Router([{"model_name": "best", "litellm_params": entry}])
    assert run(rows, out, router.as_reranker("best"), via="batch-api", chunk_rows=10).complete
    assert set(vendor.paid.values()) == {1}


def test_shards_submit_their_own_chunks(vendor: VoyageStandIn, go: Callable[..., Report], out: Path) -> None:
    first, second = go(shard=(0, 2)), go(shard=(1, 2))
    assert first.rows + second.rows == ROWS
    assert set(vendor.paid.values()) == {1}
    assert status(out).complete


def test_parquet_goes_in_and_out(vendor: VoyageStandIn, tmp_path: Path, out: Path) -> None:
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    pq.write_table(pa.Table.from_pylist([row(number) for number in range(ROWS)]), tmp_path / "rows.parquet")
    assert run(tmp_path / "rows.parquet", out, voyage(vendor.url), via="batch-api", chunk_rows=10).complete
    found = [each for path in sorted(out.glob("*.parquet")) for each in pq.read_table(path).to_pylist()]
    assert [each["id"] for each in found] == [f"r{number}" for number in range(ROWS)]
    assert all(len(each["ranking"]) == 3 for each in found)


@pytest.mark.parametrize(("polls", "passes"), [([0, 0, 0, 0], 3), ([3, 2, 1, 0], 6)], ids=["in order", "reversed"])
def test_a_row_group_is_read_again_only_for_batches_that_end_out_of_order(
    vendor: VoyageStandIn,
    tmp_path: Path,
    out: Path,
    clock: Clock,
    *,
    monkeypatch: pytest.MonkeyPatch,
    polls: list[int],
    passes: int,
) -> None:
    """One pass for the estimate, one for the submission, and one or more for the results."""
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    pq.write_table(pa.Table.from_pylist([row(number) for number in range(1_150)]), tmp_path / "rows.parquet")
    read = pq.ParquetFile.iter_batches
    seen: list[object] = []

    def counting(file: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(file)
        return read(file, *arguments, **options)

    def handle(exchange: Exchange) -> None:
        vendor.polls = polls[min(len(vendor.batches), 3)]
        vendor.handle(exchange)

    vendor.server.handler = handle
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counting)
    assert run(tmp_path / "rows.parquet", out, voyage(vendor.url), via="batch-api", chunk_rows=290).complete
    assert len(seen) == passes
    found = [each for path in sorted(out.glob("*.parquet")) for each in pq.read_table(path).to_pylist()]
    assert [each["id"] for each in found] == [f"r{number}" for number in range(1_150)]
    assert {each["error"] for each in found} == {None}
    assert set(vendor.paid.values()) == {1}


async def test_cancelled_run_leaves_the_batches_to_the_next_one(vendor: VoyageStandIn, rows: Path, out: Path) -> None:
    loop, is_polled = asyncio.get_running_loop(), asyncio.Event()

    def answer(exchange: Exchange) -> None:
        vendor.handle(exchange)
        if "/batches/" in exchange.request.target:
            loop.call_soon_threadsafe(is_polled.set)

    vendor.polls, vendor.server.handler = 1, answer
    running = asyncio.ensure_future(arun(rows, out, voyage(vendor.url), via="batch-api", chunk_rows=10))
    await is_polled.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert status(out).waiting == ROWS
    assert (await arun(rows, out, voyage(vendor.url), via="batch-api", chunk_rows=10)).complete
    assert set(vendor.paid.values()) == {1}
