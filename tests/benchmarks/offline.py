"""The peak memory (PSS) of `anyrerank.batch.run` over 200,000 rows, against that over 20,000, in one run of each.

Each run is a process of its own (`python -m tests.benchmarks.offline ADDRESS INPUT OUTPUT`). The Parquet file has one
row group, because its size must not count either.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from anyrerank import Reranker
from anyrerank.batch import Progress
from anyrerank.batch import run as run_batch
from tests.benchmarks.figures import Figure, stays_under, within_ratio
from tests.benchmarks.loopback import KEY, MODEL, QUERY, ROOT, serving

_FEW, _MANY = 20_000, 200_000
_CANDIDATES, _CHARACTERS = 20, 100
_CHUNK = 5000
_MB = 1e6


def run() -> list[Figure]:
    if sys.platform != "linux":
        sys.stderr.write("offline: not measured, memory is read from Linux's /proc\n")
        return []
    with serving() as address:
        return [
            figure for name, write in (("JSONL", _jsonl), ("Parquet", _parquet)) for figure in _of(name, write, address)
        ]


def _of(name: str, write: Callable[[Path, int], Path], address: str) -> list[Figure]:
    few, many = (_measured(write, count, address) / _MB for count in (_FEW, _MANY))
    compared = f"{name}, peak of {_MANY:,} rows"
    return [
        within_ratio("offline", f"{compared}, of {_FEW:,} rows", many, few, "MB", limit=1.1),
        stays_under("offline", compared, many, None, "MB", limit=200),
    ]


def _measured(write: Callable[[Path, int], Path], count: int, address: str) -> float:
    """The peak memory of a run, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        rows = write(Path(folder), count)
        command = [sys.executable, "-m", "tests.benchmarks.offline", address, str(rows), f"{folder}/out"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
        peak, answered = json.loads(done.stdout)
        assert answered == count
        return float(peak)


def _row(number: int) -> dict[str, object]:
    texts = [f"{number:09d} {place:03d} ".ljust(_CHARACTERS, "abcdefghi "[place % 9]) for place in range(_CANDIDATES)]
    return {"id": number, "query": f"{QUERY} {number}", "candidates": texts}


def _jsonl(folder: Path, count: int) -> Path:
    path = folder / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(_row(number)) + "\n" for number in range(count))
    return path


def _parquet(folder: Path, count: int) -> Path:
    path = folder / "rows.parquet"
    batches = [
        pa.RecordBatch.from_pylist([_row(number) for number in range(start, start + _CHUNK)])
        for start in range(0, count, _CHUNK)
    ]
    pq.write_table(pa.Table.from_batches(batches), path, row_group_size=count)
    return path


def _probe(address: str, rows: str, out: str) -> tuple[float, int]:
    peak = 0.0

    def look(_: Progress) -> None:
        nonlocal peak
        found = re.search(r"^Pss:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text("ascii"), re.MULTILINE)
        assert found is not None
        peak = max(peak, 1024 * float(found[1]))

    reranker = Reranker(MODEL, api_key=KEY, api_base=address)
    report = run_batch(rows, out, reranker, chunk_rows=_CHUNK, progress=look)
    return peak, report.rows


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_probe(*sys.argv[1:])))
