"""`RerankBatch` in Ray Data and in Spark, against a hand-written aiohttp in the same engine.

The engines have an environment of their own, which `make test-engines` sets up; there,
`.venv-engines/bin/python -m tests.benchmarks engines` measures them. Each run is a process of its own. Starting an
engine takes longer than the rows do, so the worker writes down when it begins and ends a batch, and its CPU time then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.benchmarks.cores import unpin
from tests.benchmarks.figures import Figure, reaches_ratio
from tests.benchmarks.loopback import KEY, ROOT, serving

_ROWS, _CHARACTERS = 20_000, 400
_ROUNDS = 3
_QUIET = {"DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0", "SPARK_LOCAL_IP": "127.0.0.1"}
_PACKAGES = {"ray": "ray", "spark": "pyspark"}


class _Rates(NamedTuple):
    """Rows for each second, and for each second of the worker's CPU."""

    wall: float
    cpu: float


def run() -> list[Figure]:
    engines = [engine for engine, package in _PACKAGES.items() if find_spec(package)]
    if missing := ", ".join(_PACKAGES.keys() - set(engines)):
        sys.stderr.write(f"engines: {missing} not measured, use .venv-engines/bin/python (make test-engines)\n")
    if not engines:
        return []
    from tests.benchmarks.offline_rows import parquet

    unpin()  # an engine has many processes
    with serving() as address, tempfile.TemporaryDirectory() as folder:
        rows = parquet(Path(folder), _ROWS, _CHARACTERS)
        return [figure for engine in engines for figure in _of(engine, address, rows)]


def _of(engine: str, address: str, rows: Path) -> list[Figure]:
    found: dict[str, list[_Rates]] = {"ours": [], "bare": []}
    for _ in range(_ROUNDS):
        for way, each in found.items():
            each.append(_measured(engine, way, address, rows))
    ours, bare = (_Rates(*map(median, zip(*each, strict=True))) for each in found.values())
    return [
        reaches_ratio("engines", f"{engine}, rows/s, aiohttp", ours.wall, bare.wall, "req/s", limit=0.8),
        reaches_ratio("engines", f"{engine}, rows per CPU second, aiohttp", ours.cpu, bare.cpu, "req/s", limit=0.8),
    ]


def _measured(engine: str, way: str, address: str, rows: Path) -> _Rates:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        arguments = [engine, way, address, str(rows), f"{folder}/out"]
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        own = {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": paths, "OUR_KEY": KEY, "OUR_LOG": str(log)}
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "tests.benchmarks.engine_worker", *arguments],
            cwd=ROOT,
            env={**os.environ, **_QUIET, **own},
            capture_output=True,
            check=True,
        )
        times, cpu, workers = zip(
            *(map(float, line.split()) for line in log.read_text("ascii").splitlines()), strict=True
        )
    assert len(set(workers)) == 1, "one worker, so that its CPU time is all there is"
    return _Rates(_ROWS / (max(times) - min(times)), _ROWS / (max(cpu) - min(cpu)))
