"""One run of Ray Data or Spark: `python -m tests.benchmarks.engine_worker ENGINE WAY ADDRESS INPUT OUTPUT`.

The way is `ours`, or `bare`: what one would write by hand, without errors, retries and costs.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pyarrow as pa

from anyrerank.batch import RerankBatch
from tests.benchmarks.loopback import HEADERS, MODEL, PATH

_IN_FLIGHT = 64


class Bare:
    """A hand-written request for each row."""

    def __init__(self, address: str) -> None:
        self._url = address + PATH
        self._turns = asyncio.Semaphore(_IN_FLIGHT)
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, batch: Any) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        pairs = zip(batch.column("query").to_pylist(), batch.column("candidates").to_pylist(), strict=True)
        found = await asyncio.gather(*(self._one(self._session, *pair) for pair in pairs))
        rankings, scores = zip(*found, strict=True)
        return pa.table({"id": batch.column("id"), "ranking": rankings, "scores": scores})

    def in_arrow(self, batches: Iterable[Any]) -> Iterator[Any]:
        loop = asyncio.new_event_loop()
        for batch in batches:
            yield from loop.run_until_complete(self(batch)).to_batches()

    async def _one(self, session: aiohttp.ClientSession, query: str, documents: list[str]) -> tuple[Any, Any]:
        body = orjson.dumps({"model": MODEL.partition("/")[2], "query": query, "documents": documents})
        async with self._turns, session.post(self._url, data=body, headers=HEADERS) as answer:
            results = orjson.loads(await answer.read())["results"]
        return [each["index"] for each in results], [each["relevance_score"] for each in results]


def _made(way: str, address: str) -> Any:
    if way == "bare":
        return Bare(address)
    return RerankBatch(MODEL, api_base=address, api_key_env="OUR_KEY", in_flight=_IN_FLIGHT)


def _note() -> None:
    """Write down the time, the CPU time of this process, and which one it is."""
    with Path(os.environ["OUR_LOG"]).open("a", encoding="ascii") as file:
        file.write(f"{time.time()} {time.process_time()} {os.getpid()}\n")


class OnRay:
    """An actor."""

    def __init__(self, way: str, address: str) -> None:
        self._rank = _made(way, address)

    async def __call__(self, batch: Any) -> Any:
        _note()
        found = await self._rank(batch)
        _note()
        return found


def ray(way: str, address: str, rows: str, out: str) -> None:
    engine = importlib.import_module("ray")
    engine.init(num_cpus=2, include_dashboard=False)
    engine.data.DataContext.get_current().target_max_block_size = 4 << 20
    engine.data.read_parquet(rows).map_batches(
        OnRay,
        fn_constructor_kwargs={"way": way, "address": address},
        batch_format="pyarrow",
        batch_size=64,
        compute=engine.data.ActorPoolStrategy(size=1),
    ).write_parquet(out)


def spark(way: str, address: str, rows: str, out: str) -> None:
    engine = importlib.import_module("pyspark.sql")
    session = engine.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    frame = session.read.parquet(rows)
    ddl = "id long, ranking array<long>, scores array<double>"
    if way == "ours":
        ddl = RerankBatch(MODEL).ddl(frame)

    def in_arrow(batches: Iterable[Any]) -> Iterator[Any]:
        _note()
        yield from _made(way, address).in_arrow(batches)
        _note()

    frame.mapInArrow(in_arrow, ddl).write.parquet(out)
    session.stop()


if __name__ == "__main__":
    {"ray": ray, "spark": spark}[sys.argv[1]](*sys.argv[2:])
