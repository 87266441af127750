"""2,500 documents in three requests, at a server that takes its time, against one request to it."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import httpx

from anyrerank import Reranker
from tests.benchmarks.figures import Figure, within_ratio
from tests.benchmarks.loopback import HEADERS, KEY, MODEL, PATH, QUERY, body, serving, texts
from tests.benchmarks.turns import aseconds, seconds

_TIMES = 25
_DELAY = "/after/50"


def run() -> list[Figure]:
    documents = texts(2500)
    with serving() as server:
        sync, one = _sync(server + _DELAY, documents)
        concurrent, alone = asyncio.run(_async(server + _DELAY, documents))
    return [
        within_ratio("batches", "sync, one bare request of 1,000", 1000 * sync, 1000 * one, "ms", limit=1.5),
        within_ratio("batches", "async, one bare request of 1,000", 1000 * concurrent, 1000 * alone, "ms", limit=1.5),
    ]


def _sync(base: str, documents: list[str]) -> list[float]:
    one = body(documents[:1000])
    with httpx.Client() as client, Reranker(MODEL, api_key=KEY, api_base=base) as reranker:

        def ours() -> object:
            response = reranker.rerank(QUERY, documents)
            assert len(response.attempts) == 3
            return response.results[0]

        def bare() -> object:
            return json.loads(client.post(base + PATH, json=one, headers=HEADERS).content)["results"][0]

        return seconds([ours, bare], times=_TIMES)


async def _async(base: str, documents: list[str]) -> list[float]:
    one = body(documents[:1000])
    async with Reranker(MODEL, api_key=KEY, api_base=base) as reranker, aiohttp.ClientSession() as session:

        async def ours() -> object:
            response = await reranker.arerank(QUERY, documents)
            assert len(response.attempts) == 3
            return response.results[0]

        async def bare() -> object:
            async with session.post(base + PATH, json=one, headers=HEADERS) as answer:
                return json.loads(await answer.read())["results"][0]

        return await aseconds([ours, bare], times=_TIMES)
