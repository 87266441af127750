"""Batches of Parquet files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.batch import CANDIDATES, reranker, row, sends

from anyrerank import BadRequestError
from anyrerank.batch import estimate, run
from anyrerank.batch.outcomes import Outcome
from anyrerank.testing import StubServer

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
table_of = pytest.importorskip("anyrerank.batch.parquet").table_of

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
COUNTS = st.integers(0, 2**31 - 1)
DOLLARS = st.none() | st.floats(0, 1e9)
OUTCOMES = st.builds(
    Outcome,
    ranking=st.none() | st.lists(COUNTS),
    scores=st.none() | st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    error=TEXTS,
    message=TEXTS,
    http_status=st.none() | COUNTS,
    attempts=COUNTS,
    cost=DOLLARS,
    cost_estimated=st.booleans(),
    saved=DOLLARS,
    cached=COUNTS,
    seconds=st.floats(0, 1e9),
    deployment=TEXTS,
    request_id=TEXTS,
)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def write(path: Path, rows: list[dict[str, Any]], group: int = 7, **columns: Any) -> Path:
    table = pa.Table.from_pylist(rows)
    for name, values in columns.items():
        table = table.append_column(name, values)
    pq.write_table(table, path, row_group_size=group)
    return path


def read(out: Path) -> Any:
    return pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("part-*.parquet"))])


@pytest.mark.parametrize("chunk_rows", [3, 10, 100])
def test_every_row_is_in_one_part_whatever_the_row_groups_are(
    stub: StubServer, tmp_path: Path, chunk_rows: int
) -> None:
    path, out = write(tmp_path / "rows.parquet", [row(number) for number in range(25)]), tmp_path / "out"
    assert run(path, out, reranker(stub.url), chunk_rows=chunk_rows).exit_code == 0
    assert read(out)["id"].to_pylist() == [f"r{number}" for number in range(25)]
    assert set(sends(stub).values()) == {1}
    assert run(path, out, reranker(stub.url), chunk_rows=chunk_rows).complete
    assert len(stub.requests) == 25


def test_kept_columns_keep_their_types_and_the_others_are_as_documented(stub: StubServer, tmp_path: Path) -> None:
    when = pa.array([datetime(2026, 11, 1, tzinfo=timezone.utc)] * 3, pa.timestamp("us", "UTC"))
    path = write(tmp_path / "rows.parquet", [row(number) for number in range(3)], when=when)
    out = tmp_path / "out"
    run(path, out, reranker(stub.url), keep=["when", "candidates"])
    schema = read(out).schema
    assert schema.names[:2] == ["when", "candidates"]
    assert schema.field("when").type == pa.timestamp("us", "UTC")
    assert schema.field("ranking").type == pa.list_(pa.int32())
    assert schema.field("scores").type == pa.list_(pa.float64())
    assert schema.field("attempts").type == pa.int32()
    assert read(out)["candidates"].to_pylist() == [CANDIDATES] * 3


def test_nulls_are_error_rows(stub: StubServer, tmp_path: Path) -> None:
    rows = [row(0), {**row(1), "query": None}, {**row(2), "candidates": None}, {**row(3), "candidates": [None, "a"]}]
    path, out = write(tmp_path / "rows.parquet", rows), tmp_path / "out"
    report = run(path, out, reranker(stub.url))
    assert (report.exit_code, report.errors) == (3, {"BadRequestError": 3})
    found = read(out)
    assert found["ranking"].to_pylist()[1:] == [None] * 3
    assert "row 1 of rows.parquet" in found["message"][1].as_py()
    assert "row 2 of rows.parquet" in found["message"][2].as_py()
    assert run(path, out, reranker(stub.url), retry_errors=True).errors == {"BadRequestError": 3}


def test_missing_column_is_named_with_those_that_exist(stub: StubServer, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", [row(0)])
    for arguments, words in (({"query": "q"}, "no column q; its columns: id"), ({"keep": ["a"]}, "no column a")):
        with pytest.raises(BadRequestError, match=words):
            run(path, tmp_path / "out", reranker(stub.url), **arguments)
    assert not (tmp_path / "out").exists()


def test_file_that_is_not_parquet_is_refused(stub: StubServer, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(BadRequestError, match="not a Parquet file"):
        run(path, tmp_path / "out", reranker(stub.url))


def test_rows_are_counted_without_reading_them(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", [row(number) for number in range(2000)], group=2000)
    found = estimate(path, tmp_path / "out", reranker("http://127.0.0.1:9"))
    assert (found.rows, found.exact, found.requests) == (2000, True, 2000)
    assert found.dollars == pytest.approx(2.0)


@given(st.lists(OUTCOMES))
def test_parts_hold_every_outcome_exactly(outcomes: list[Outcome]) -> None:
    table = table_of(list(map(orjson.dumps, outcomes)))
    assert table.to_pylist() == [asdict(each) for each in outcomes]


def test_row_of_a_hundred_thousand_candidates_fits_into_a_part() -> None:
    outcome = Outcome(ranking=list(range(100_000)), scores=[0.123456789] * 100_000)
    assert table_of([orjson.dumps(outcome)] * 2)["ranking"].to_pylist() == [outcome.ranking] * 2


def test_parts_are_written_without_pandas(stub: StubServer, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", [row(0)])
    code = f"""
import sys
from anyrerank import Reranker
from anyrerank.batch import run
assert run({str(path)!r}, {str(tmp_path / "out")!r}, Reranker("cohere/m", api_key="k", api_base={stub.url!r})).complete
assert "pyarrow" in sys.modules
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
