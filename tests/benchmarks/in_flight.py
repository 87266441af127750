"""64 asynchronous calls in flight against a hand-written loop over aiohttp."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from anyrerank import Reranker
from tests.benchmarks.figures import Figure, reaches_ratio, within_ratio
from tests.benchmarks.loopback import HEADERS, KEY, MODEL, PATH, QUERY, body, serving, texts
from tests.benchmarks.turns import Load, loads

_AT_ONCE = 64
_ROUNDS = 7
_CALLS = 2000


def run() -> list[Figure]:
    with serving() as address:
        ours, peer = asyncio.run(_loads(address))
    return [
        reaches_ratio("async_64", "aiohttp and json (goal 1.0)", ours.rate, peer.rate, "req/s", limit=0.95),
        within_ratio("async_64", "p99, aiohttp and json", 1000 * ours.p99, 1000 * peer.p99, "ms", limit=1.3),
    ]


async def _loads(address: str) -> list[Load]:
    documents, url = texts(100), address + PATH
    async with (
        Reranker(MODEL, api_key=KEY, api_base=address) as reranker,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):

        async def ours() -> object:
            return (await reranker.arerank(QUERY, documents)).results[0]

        async def over_aiohttp() -> object:
            content = json.dumps(body(documents)).encode()
            async with session.post(url, data=content, headers=HEADERS) as answer:
                return json.loads(await answer.read())["results"][0]

        return await loads([(ours, _CALLS), (over_aiohttp, _CALLS)], at_once=_AT_ONCE, rounds=_ROUNDS)
