"""Rows for the benchmarks of batches, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.loopback import QUERY

CANDIDATES = 20
CHUNK = 5000


def row(number: int, characters: int) -> dict[str, Any]:
    """A row whose candidates have `characters` characters each."""
    texts = [f"{number:09d} {place:03d} ".ljust(characters, "abcdefghi "[place % 9]) for place in range(CANDIDATES)]
    return {"id": number, "query": f"{QUERY} {number}", "candidates": texts}


def jsonl(folder: Path, count: int, characters: int) -> Path:
    """A file of JSON lines."""
    path = folder / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row(number, characters)) + "\n" for number in range(count))
    return path


def parquet(folder: Path, count: int, characters: int) -> Path:
    """A Parquet file with one row group."""
    path = folder / "rows.parquet"
    batches = [
        pa.RecordBatch.from_pylist([row(number, characters) for number in range(start, min(count, start + CHUNK))])
        for start in range(0, count, CHUNK)
    ]
    pq.write_table(pa.Table.from_batches(batches), path, row_group_size=count)
    return path
