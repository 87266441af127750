"""What a batch is estimated to take, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.batch import reranker, row, write_rows

from anyrerank import BadRequestError
from anyrerank.batch import Estimate, estimate, run
from anyrerank.testing import StubServer


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", map(row, range(25)))


def test_estimate_sends_and_writes_nothing(stub: StubServer, rows: Path, out: Path) -> None:
    found = estimate(rows, out, reranker(stub.url), rpm=10)
    assert (found.rows, found.exact, found.requests, found.documents) == (25, True, 25, 75)
    assert found.dollars == pytest.approx(0.025)
    assert found.hours == pytest.approx(2.5 / 60)
    assert "25 rows" in str(found)
    assert stub.requests == []
    assert not out.exists()


def test_estimate_counts_the_rows_of_a_small_file(stub: StubServer, tmp_path: Path, out: Path) -> None:
    rows = [{**row(number), "candidates": ["x" * (1 + number)]} for number in range(400)]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    with path.open("ab") as file:
        file.write(b"\n \n")
    found = estimate(path, out, reranker(stub.url))
    assert (found.rows, found.exact) == (400, True)
    assert found.dollars == pytest.approx(0.4)


def test_estimate_of_a_large_file_is_from_its_size(
    stub: StubServer, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyrerank.batch.jsonl._COUNTED_BYTES", 1000)
    found = estimate(write_rows(tmp_path / "rows.jsonl", map(row, range(1000))), out, reranker(stub.url))
    assert 900 < found.rows < 1100
    assert not found.exact


def test_estimate_is_announced_first_and_may_refuse(stub: StubServer, rows: Path, out: Path) -> None:
    def refuse(found: Estimate) -> None:
        raise BadRequestError(f"{found.rows} are too many")

    with pytest.raises(BadRequestError, match="25 are too many"):
        run(rows, out, reranker(stub.url), announce=refuse)
    assert stub.requests == []
