"""Batches at servers that fail: which rows are tried again, which are written, and when a run stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.batch import CANDIDATES, expected, ids, parts, reranker, row, sends, write_rows
from tests.support.clock import Clock

from anyrerank import (
    APIConnectionError,
    AuthenticationError,
    InternalServerError,
    RateLimitError,
    Reranker,
)
from anyrerank.batch import Report, run
from anyrerank.testing import Exchange, FakeProvider, StubServer, fake_provider

Fake = type[FakeProvider]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", map(row, range(100)))


@pytest.fixture
def fake() -> Fake:
    return fake_provider()


@pytest.fixture
def go(fake: Fake, rows: Path, out: Path) -> Callable[..., Report]:
    def start(**arguments: object) -> Report:
        given = {"in_flight": 8, "chunk_rows": 10, **arguments}
        return run(rows, out, Reranker("fake/m", custom_llm_provider=fake), **given)  # type: ignore[arg-type]

    return start


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def test_rate_limits_cost_patience_and_no_row(fake: Fake, go: Callable[..., Report], out: Path, clock: Clock) -> None:
    fake.fail(RateLimitError("slow down", status_code=429, retry_after=7.0), times=30)
    report = go(max_wait=600)
    assert (report.exit_code, report.rows, report.attempts) == (0, 100, 130)
    assert ids(out) == expected(100)
    assert max(clock.waits) == 7.0
    assert sum(each["attempts"] for each in parts(out)) == 130


def test_a_refusal_holds_back_all_rows_and_halves_what_is_in_flight(
    fake: Fake, go: Callable[..., Report], clock: Clock
) -> None:
    fake.fail(RateLimitError("slow down", status_code=429), times=8)
    assert go().exit_code == 0
    assert len(fake.calls) == 108
    assert clock.now - 1_000.0 >= 1.0


def test_dead_upstream_is_waited_for(fake: Fake, go: Callable[..., Report], out: Path, clock: Clock) -> None:
    fake.fail(APIConnectionError("refused"), times=60)
    assert go(max_wait=3600).exit_code == 0
    assert ids(out) == expected(100)


def test_dead_upstream_stops_the_run_when_patience_is_over(
    fake: Fake, go: Callable[..., Report], out: Path, clock: Clock
) -> None:
    fake.fail(APIConnectionError("refused"))
    report = go(max_wait=100)
    assert (report.exit_code, report.rows) == (4, 0)
    assert report.stopped is not None
    assert "APIConnectionError" in report.stopped
    assert parts(out) == []
    fake.recover()
    assert go().exit_code == 0
    assert ids(out) == expected(100)


def test_refused_key_from_some_row_on_stops_after_twenty_and_loses_nothing(
    fake: Fake, go: Callable[..., Report], rows: Path, out: Path
) -> None:
    key = {"valid": True}

    def answer(query: str, text: str) -> float:
        if len(fake.calls) > 50 and key["valid"]:
            raise AuthenticationError("revoked", status_code=401)
        return 0.5

    fake = fake_provider(answer)
    limited = Reranker("fake/m", custom_llm_provider=fake)
    report = run(rows, out, limited, in_flight=8, chunk_rows=10)
    assert (report.exit_code, report.rows, report.failed) == (4, 50, 0)
    assert 70 <= len(fake.calls) < 50 + 20 + 8
    key["valid"] = False
    assert run(rows, out, limited, in_flight=8, chunk_rows=10).exit_code == 0
    assert ids(out) == expected(100)


def test_few_refusals_between_answers_are_error_rows(fake: Fake, go: Callable[..., Report], out: Path) -> None:
    fake.fail(AuthenticationError, times=19)
    report = go()
    assert (report.exit_code, report.errors) == (3, {"AuthenticationError": 19})
    assert ids(out) == expected(100)


def test_run_in_which_no_row_is_answered_stops(fake: Fake, tmp_path: Path, out: Path) -> None:
    fake.fail(AuthenticationError)
    path = write_rows(tmp_path / "few.jsonl", map(row, range(3)))
    report = run(path, out, Reranker("fake/m", custom_llm_provider=fake))
    assert (report.exit_code, report.rows, len(fake.calls)) == (4, 0, 3)


@pytest.mark.parametrize("in_flight", [1, 8])
def test_failed_rows_of_many_chunks_hold_up_nothing(
    fake: Fake, go: Callable[..., Report], out: Path, in_flight: int
) -> None:
    fake.fail(AuthenticationError, times=19)
    assert go(chunk_rows=1, in_flight=in_flight).errors == {"AuthenticationError": 19}
    assert ids(out) == expected(100)
    fake.fail(AuthenticationError)
    assert go(chunk_rows=1, in_flight=in_flight, retry_errors=True).exit_code == 4


def test_row_that_breaks_the_server_is_an_error_row(rows: Path, out: Path, clock: Clock) -> None:
    def answer(query: str, text: str) -> float:
        if "(42)" in query:
            raise InternalServerError("crashed", status_code=500)
        return 0.5

    fake = fake_provider(answer)
    report = run(rows, out, Reranker("fake/m", custom_llm_provider=fake), in_flight=8, chunk_rows=10)
    assert (report.exit_code, report.errors) == (3, {"InternalServerError": 1})
    assert [each["attempts"] for each in parts(out) if each["error"]] == [10]


def test_refused_row_is_sent_once(stub: StubServer, rows: Path, out: Path) -> None:
    stub.fail(400, times=1)
    assert run(rows, out, reranker(stub.url)).errors == {"BadRequestError": 1}
    assert set(sends(stub).values()) == {1}


def test_answered_request_of_a_large_row_is_paid_for_twice_at_most(stub: StubServer, tmp_path: Path, out: Path) -> None:
    """Whether a row takes several requests shows when one of them fails: then they are tried again one by one."""
    seen: list[int] = []

    def every_third_fails(exchange: Exchange) -> None:
        seen.append(exchange.number)
        if exchange.number % 3 == 2:
            exchange.respond(503, {"message": "busy"}, {"retry-after": "0"})
        else:
            exchange.rank()

    stub.handler = every_third_fails
    path = write_rows(tmp_path / "rows.jsonl", [{**row(0), "candidates": CANDIDATES * 4}])
    report = run(path, out, reranker(stub.url, batch_size=1))
    assert (report.exit_code, parts(out)[0]["attempts"]) == (0, len(seen))
    assert sum(number % 3 != 2 for number in seen) <= 12 + 2


@pytest.mark.parametrize("how", [400, "garbage"])
def test_server_that_answers_no_row_stops_the_run(stub: StubServer, rows: Path, out: Path, how: Any) -> None:
    stub.fail(how)
    report = run(rows, out, reranker(stub.url), in_flight=4)
    assert (report.exit_code, report.rows) == (4, 0)
    assert len(stub.requests) < 20 + 4


@pytest.mark.parametrize(("left", "status"), [(1, 3), (19, 3), (20, 4)])
def test_last_rows_of_a_job_whose_answers_are_unusable_are_error_rows(
    stub: StubServer, rows: Path, out: Path, left: int, status: int
) -> None:
    def rank_some(exchange: Exchange) -> None:
        exchange.rank() if exchange.number < 100 - left else exchange.respond(401)

    stub.handler = rank_some
    run(rows, out, reranker(stub.url), in_flight=1)
    stub.fail("garbage")
    report = run(rows, out, reranker(stub.url), in_flight=1, retry_errors=True)
    assert (report.exit_code, report.errors) == (status, {"APIResponseValidationError": left} if status == 3 else {})


def test_rows_that_are_refused_again_are_error_rows_again(stub: StubServer, rows: Path, out: Path) -> None:
    def refuse_some(exchange: Exchange) -> None:
        exchange.respond(400) if exchange.request.json["query"].endswith("0)") else exchange.rank()

    stub.handler = refuse_some
    for again in (False, True, True):
        report = run(rows, out, reranker(stub.url), chunk_rows=10, retry_errors=again)
        assert (report.exit_code, report.errors) == (3, {"BadRequestError": 10})
        assert sum(each["attempts"] for each in parts(out)) == len(stub.requests) == report.attempts
    assert len(stub.requests) == 120


def test_rate_of_rows_is_kept(fake: Fake, go: Callable[..., Report], clock: Clock) -> None:
    assert go(rpm=60, in_flight=1).exit_code == 0
    assert clock.now - 1_000.0 >= 99.0
