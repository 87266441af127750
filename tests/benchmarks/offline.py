"""The peak memory (PSS) of `anyrerank.batch.run` over 200,000 rows, against that over 20,000, in one run of each.

Each run is a process of its own (`python -m tests.benchmarks.offline ADDRESS INPUT OUTPUT`). A Parquet file has one
row group, because its size must not count either; one of 60,000 longer rows has half a gigabyte.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from anyrerank import Reranker
from anyrerank.batch import Progress
from anyrerank.batch import run as run_batch
from tests.benchmarks.figures import Figure, stays_under, within_ratio
from tests.benchmarks.loopback import KEY, MODEL, ROOT, serving
from tests.benchmarks.offline_rows import CHUNK, jsonl, parquet

_FEW, _MANY, _LARGE = 20_000, 200_000, 60_000
_CHARACTERS = 100
_MB = 1e6


def run() -> list[Figure]:
    if sys.platform != "linux":
        sys.stderr.write("offline: not measured, memory is read from Linux's /proc\n")
        return []
    with serving() as address:
        return [
            *_of("JSONL", jsonl, address),
            *_of("Parquet", parquet, address),
            _peak("Parquet, peak of a row group of 0.5 GB", _measured(parquet, _LARGE, 400, address)),
        ]


def _of(name: str, write: Callable[[Path, int, int], Path], address: str) -> list[Figure]:
    few, many = (_measured(write, count, _CHARACTERS, address) for count in (_FEW, _MANY))
    compared = f"{name}, peak of {_MANY:,} rows"
    return [
        within_ratio("offline", f"{compared}, of {_FEW:,} rows", many, few, "MB", limit=1.1),
        _peak(compared, many),
    ]


def _peak(compared: str, size: float) -> Figure:
    return stays_under("offline", compared, size, None, "MB", limit=200)


def _measured(write: Callable[[Path, int, int], Path], count: int, characters: int, address: str) -> float:
    """The peak memory of a run, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        rows = write(Path(folder), count, characters)
        command = [sys.executable, "-m", "tests.benchmarks.offline", address, str(rows), f"{folder}/out"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
        peak, answered = json.loads(done.stdout)
        assert answered == count
        return float(peak) / _MB


def _probe(address: str, rows: str, out: str) -> tuple[float, int]:
    peak = 0.0

    def look(_: Progress) -> None:
        nonlocal peak
        found = re.search(r"^Pss:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text("ascii"), re.MULTILINE)
        assert found is not None
        peak = max(peak, 1024 * float(found[1]))

    reranker = Reranker(MODEL, api_key=KEY, api_base=address)
    report = run_batch(rows, out, reranker, chunk_rows=CHUNK, progress=look)
    return peak, report.rows


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_probe(*sys.argv[1:])))
