"""What `anyrerank.batch.run` costs over the calls alone, and against a hand-written loop that writes the same Parquet.

Each run is a process of its own (`python -m tests.benchmarks.offline_speed HOW ADDRESS INPUT OUTPUT`) and reports its
CPU time; the ways take turns, so that other work on the machine does not favour one of them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from anyrerank import Reranker
from anyrerank.batch import run as run_batch
from tests.benchmarks.figures import Figure, reaches_ratio, within_ratio
from tests.benchmarks.loopback import HEADERS, KEY, MODEL, PATH, ROOT, serving
from tests.benchmarks.offline_rows import CHUNK, parquet

_ROWS, _CHARACTERS = 20_000, 400
_DELAY = 0.2
_AT_ONCE = 64
_ROUNDS = 5
_BATCH = 200


def run() -> list[Figure]:
    with serving() as address, tempfile.TemporaryDirectory() as folder:
        path = parquet(Path(folder), _ROWS, _CHARACTERS)
        found = _in_turns(("batch", "calls", "floor"), address, path, _ROUNDS)
        (slow,) = _in_turns(("batch",), f"{address}/after/{1000 * _DELAY:.0f}", path, 1)
    batch, calls, floor = ([1000 * cpu / _ROWS for cpu, _ in one] for one in found)
    walls = [[_ROWS / wall for _, wall in one] for one in found]
    ideal = _AT_ONCE / _DELAY
    return [
        within_ratio("offline_speed", "CPU of a row, arerank alone", *_medians(batch, calls), "ms", limit=1.2),
        reaches_ratio(
            "offline_speed", "rows/s, aiohttp with Parquet", *_medians(walls[0], walls[2]), "req/s", limit=0.55
        ),
        reaches_ratio("offline_speed", "rows per CPU second, the same", *_rates(batch, floor), "req/s", limit=0.55),
        reaches_ratio(
            "offline_speed", "rows/s at 200 ms, 64 in flight", _ROWS / slow[0][1], ideal, "req/s", limit=0.95
        ),
    ]


def _medians(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, float]:
    return median(ours), median(peer)


def _rates(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, float]:
    return 1000 / median(ours), 1000 / median(peer)


def _in_turns(ways: Sequence[str], address: str, path: Path, rounds: int) -> list[list[tuple[float, float]]]:
    """CPU and wall seconds of each run of each way."""
    found: list[list[tuple[float, float]]] = [[] for _ in ways]
    for _ in range(rounds):
        for way, one in zip(ways, found, strict=True):
            with tempfile.TemporaryDirectory() as out:
                command = [sys.executable, "-m", "tests.benchmarks.offline_speed", way, address, str(path), out]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
                cpu, wall = json.loads(done.stdout)
                one.append((cpu, wall))
    return found


def _batch(address: str, path: str, out: str) -> None:
    report = run_batch(path, out, Reranker(MODEL, api_key=KEY, api_base=address), in_flight=_AT_ONCE)
    assert report.exit_code == 0


def _calls(address: str, path: str, _: str) -> None:
    """The calls, without journal and parts."""

    async def main() -> None:
        async with Reranker(MODEL, api_key=KEY, api_base=address) as reranker:

            async def one(row: dict[str, Any]) -> None:
                response = await reranker.arerank(row["query"], row["candidates"], return_documents=False)
                assert len(response.ranking.scores) == len(row["candidates"])

            await _at_once(_rows(path), one)

    asyncio.run(main())


def _floor(address: str, path: str, out: str) -> None:
    """What one would write by hand, without errors, retries and resume."""
    columns = ("id", "ranking", "scores")
    done: list[tuple[Any, ...]] = []
    parts = 0

    def write() -> None:
        nonlocal done, parts
        table = pa.table({name: [each[place] for each in done] for place, name in enumerate(columns)})
        pq.write_table(table, f"{out}/part-{parts}.parquet")
        done, parts = [], parts + 1

    async def main() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one(row: dict[str, Any]) -> None:
                body = orjson.dumps({"model": "m", "query": row["query"], "documents": row["candidates"]})
                async with session.post(address + PATH, data=body, headers=HEADERS) as answer:
                    results = orjson.loads(await answer.read())["results"]
                ranking = [each["index"] for each in results]
                done.append((row["id"], ranking, [each["relevance_score"] for each in results]))
                if len(done) == CHUNK:
                    write()

            await _at_once(_rows(path), one)
        write()

    asyncio.run(main())


async def _at_once(rows: Iterable[dict[str, Any]], one: Callable[[dict[str, Any]], Any]) -> None:
    waiting = iter(rows)

    async def worker() -> None:
        for row in waiting:
            await one(row)

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


def _rows(path: str) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        for batch in file.iter_batches(_BATCH, use_threads=False):
            names = batch.schema.names
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield dict(zip(names, values, strict=True))


_WAYS: dict[str, Callable[[str, str, str], None]] = {"batch": _batch, "calls": _calls, "floor": _floor}


def _probe(way: str, address: str, path: str, out: str) -> tuple[float, float]:
    began, wall = time.process_time(), time.perf_counter()
    _WAYS[way](address, path, out)
    return time.process_time() - began, time.perf_counter() - wall


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_probe(*sys.argv[1:])))
