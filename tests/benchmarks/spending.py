"""64 asynchronous calls in flight, with the spend ledger and without.

The process is not pinned to one core: the ledger copies calls to the database in a thread while other calls run, and
where that thread may run is part of what it costs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anyrerank import Reranker
from anyrerank.ledger import Ledger
from tests.benchmarks.cores import CLIENT, pin, unpin
from tests.benchmarks.figures import Figure, reaches_ratio
from tests.benchmarks.loopback import KEY, MODEL, QUERY, serving, texts
from tests.benchmarks.turns import rates

_IN_FLIGHT = 64
_CALLS = 640
_ROUNDS = 80


def run() -> list[Figure]:
    unpin()
    try:
        return _measured()
    finally:
        pin(CLIENT)


def _measured() -> list[Figure]:
    with serving() as address, TemporaryDirectory() as folder, Ledger(Path(folder, "spend.db")) as ledger:
        with_ledger, without = asyncio.run(_rates(address, ledger))
        recorded = sum(spend.calls for spend in ledger.spend(by="model"))
    assert recorded == _ROUNDS * _CALLS + 2 * _IN_FLIGHT
    return [reaches_ratio("ledger", "64 in flight, without a ledger", with_ledger, without, "req/s", limit=0.95)]


async def _rates(address: str, ledger: Ledger) -> list[float]:
    documents = texts(100)
    given: dict[str, Any] = {"api_key": KEY, "api_base": address, "input_cost_per_query": 0.002, "user": "ann"}
    async with Reranker(MODEL, **given, hooks=[ledger]) as recorded, Reranker(MODEL, **given) as bare:

        async def with_ledger() -> object:
            return (await recorded.arerank(QUERY, documents)).results[0]

        async def without() -> object:
            return (await bare.arerank(QUERY, documents)).results[0]

        return await rates([(with_ledger, _CALLS), (without, _CALLS)], at_once=_IN_FLIGHT, rounds=_ROUNDS)
