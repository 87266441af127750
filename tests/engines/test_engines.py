"""`RerankBatch` in the real engines, each in a process of its own: `make test-engines`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anyrerank.testing import Exchange, StubServer
from tests.support.batch import CANDIDATES, sends

pa = pytest.importorskip("pyarrow")
dataset = pytest.importorskip("pyarrow.dataset")
pq = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).parents[2]
ROWS = 200
IN_FLIGHT = 8
NO_QUERY = 7
_QUIET = {
    "DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore",
    "RAY_USAGE_STATS_ENABLED": "0",
    "SPARK_LOCAL_IP": "127.0.0.1",
}
"""Keeps the engines from using the network."""


class Upstream:
    """A server that counts how many requests are in flight."""

    def __init__(self) -> None:
        self.server = StubServer(handler=self._answer)
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def _answer(self, exchange: Exchange) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self.server.wait_for_requests(exchange.number + IN_FLIGHT, 0.05)  # so that the requests overlap
        with self._lock:
            self._now -= 1
        exchange.rank()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    with made.server:
        yield made


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for file in range(2):
        numbers = range(file * ROWS // 2, (file + 1) * ROWS // 2)
        rows = [
            {
                "id": each,
                "query": None if each == NO_QUERY else f"Which planet is red? ({each})",
                "candidates": CANDIDATES,
            }
            for each in numbers
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{file}.parquet")
    return folder


@pytest.mark.parametrize("engine", ["datasets", "dask", "spark", "ray", "daft"])
def test_every_row_is_answered_once_with_the_key_of_the_worker(
    engine: str, inputs: Path, tmp_path: Path, upstream: Upstream
) -> None:
    if engine == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or later: install it, for example the package openjdk-17-jre-headless")
    out = tmp_path / "out"
    out.mkdir()
    environment = {**os.environ, **_QUIET, "OUR_KEY": "the-secret", "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", f"tests.engines.on_{engine}", str(inputs), str(out), upstream.server.url],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    outputs = [out, tmp_path / "out-pandas"] if engine == "spark" else [out]
    for each in outputs:
        rows = sorted(dataset.dataset(each, format="parquet").to_table().to_pylist(), key=lambda row: row["id"])
        assert [row["id"] for row in rows] == list(range(ROWS))
        assert [row["id"] for row in rows if row["error"]] == [NO_QUERY]
        assert [len(row["ranking"]) for row in rows if row["error"] is None] == [3] * (ROWS - 1)
    assert set(sends(upstream.server).values()) == {len(outputs)}
    assert len(sends(upstream.server)) == ROWS - 1
    assert {request.headers["authorization"] for request in upstream.server.requests} == {"Bearer the-secret"}
    assert 1 < upstream.most <= IN_FLIGHT
