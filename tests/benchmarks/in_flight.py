"""64 asynchronous calls in flight against hand-written loops over aiohttp and over httpx."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import httpx

from anyrerank import Reranker
from tests.benchmarks.figures import Figure, reaches_ratio
from tests.benchmarks.loopback import HEADERS, KEY, MODEL, PATH, QUERY, body, serving, texts
from tests.benchmarks.turns import rates

_AT_ONCE = 64
_ROUNDS = 7


def run() -> list[Figure]:
    with serving() as address:
        ours, over_aiohttp, over_httpx = asyncio.run(_rates(address))
    return [
        reaches_ratio("async_64", "aiohttp and json (goal 1.0)", ours, over_aiohttp, "req/s", limit=0.7),
        reaches_ratio("async_64", "httpx.AsyncClient", ours, over_httpx, "req/s", limit=8),
    ]


async def _rates(address: str) -> list[float]:
    documents, url = texts(100), address + PATH
    async with (
        Reranker(MODEL, api_key=KEY, api_base=address) as reranker,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        httpx.AsyncClient() as client,
    ):

        async def ours() -> object:
            return (await reranker.arerank(QUERY, documents)).results[0]

        async def over_aiohttp() -> object:
            content = json.dumps(body(documents)).encode()
            async with session.post(url, data=content, headers=HEADERS) as answer:
                return json.loads(await answer.read())["results"][0]

        async def over_httpx() -> object:
            answer = await client.post(url, json=body(documents), headers=HEADERS)
            return json.loads(answer.content)["results"][0]

        return await rates([(ours, 2000), (over_aiohttp, 2000), (over_httpx, 200)], at_once=_AT_ONCE, rounds=_ROUNDS)
