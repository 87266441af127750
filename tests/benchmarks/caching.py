"""64 asynchronous calls of 20 documents in flight, with scores in Redis and without a cache.

Cold calls look for scores that are not there, and store them; warm calls find all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from statistics import median
from typing import Any

from anyrerank import RedisCache, Reranker
from tests.benchmarks.cores import CLIENT, SERVER, pin
from tests.benchmarks.figures import Figure, reaches_ratio
from tests.benchmarks.loopback import KEY, MODEL, serving, texts
from tests.benchmarks.turns import load
from tests.support.redis_server import RedisServer
from tests.support.server_process import new_server

_IN_FLIGHT = 64
_CALLS = 600
_ROUNDS = 5
_DOCUMENTS = 20


def run() -> list[Figure]:
    pin(SERVER)
    with new_server(RedisServer) as redis, serving() as address:
        redis.start()
        pin(CLIENT)
        without, cold, warm = asyncio.run(_rates(address, redis.url))
    compared = "64 in flight, without a cache"
    return [
        reaches_ratio("cache in Redis, cold", compared, cold, without, "req/s", limit=0.5),
        reaches_ratio("cache in Redis, warm", compared, warm, without, "req/s", limit=1.2),
    ]


async def _rates(address: str, url: str) -> tuple[float, ...]:
    documents = texts(_DOCUMENTS)
    cache, rounds = RedisCache(url), [list[float]() for _ in range(3)]
    connection: dict[str, Any] = {"api_key": KEY, "api_base": address}
    async with Reranker(MODEL, **connection) as bare, Reranker(MODEL, **connection, cache=cache) as caching:
        for number in range(1 + _ROUNDS):
            found = [
                await _rate(bare, documents, number, hits=0),
                await _rate(caching, documents, number, hits=0),
                await _rate(caching, documents, number, hits=_CALLS if number else None),
            ]
            for rates, rate in zip(rounds, found, strict=True):
                rates.append(rate)
    return tuple(median(rates[1:]) for rates in rounds)  # without the first round, in which connections are made


async def _rate(reranker: Reranker, documents: list[str], number: int, *, hits: int | None) -> float:
    """Calls a second, each with a query of its own in this round.

    Args:
        reranker: Whom to ask.
        documents: Those of each call.
        number: Of the round.
        hits: How many calls find their scores, but for one in fifty that the machine held up for too long.
    """
    queries: Iterator[int] = count()
    found = 0

    async def call() -> object:
        nonlocal found
        response = await reranker.arerank(f"query {next(queries)} of round {number}", documents)
        found += bool(response.cached)
        return response.results[0]

    rate = (await load(call, _CALLS, _IN_FLIGHT)).rate
    assert hits is None or hits * 0.98 <= found <= hits, f"{found} of {_CALLS} calls found their scores"
    return rate
