"""64 asynchronous calls in flight, with the spend ledger and without.

Not kept to one core: the ledger's thread writes beside the calls, and where it may run is part of what it costs.
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

_AT_ONCE = 64
_COUNT = 640
_ROUNDS = 80


def run() -> list[Figure]:
    unpin()
    try:
        return _measured()
    finally:
        pin(CLIENT)


def _measured() -> list[Figure]:
    with serving() as address, TemporaryDirectory() as folder, Ledger(Path(folder, "spend.db")) as ledger:
        ours, peer = asyncio.run(_rates(address, ledger))
        ledger.flush()
        recorded = sum(each.calls for each in ledger.spend(by="model"))
    assert recorded == _ROUNDS * _COUNT + 2 * _AT_ONCE
    return [reaches_ratio("ledger", "64 in flight, without a ledger", ours, peer, "req/s", limit=0.95)]


async def _rates(address: str, ledger: Ledger) -> list[float]:
    documents = texts(100)
    given: dict[str, Any] = {"api_key": KEY, "api_base": address, "input_cost_per_query": 0.002, "user": "ann"}
    async with Reranker(MODEL, **given, hooks=[ledger]) as noted, Reranker(MODEL, **given) as bare:

        async def ours() -> object:
            return (await noted.arerank(QUERY, documents)).results[0]

        async def peer() -> object:
            return (await bare.arerank(QUERY, documents)).results[0]

        return await rates([(ours, _COUNT), (peer, _COUNT)], at_once=_AT_ONCE, rounds=_ROUNDS)
