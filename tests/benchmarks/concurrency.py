"""100 adapter calls at once at a server that takes 0.5 s: the time of all, and how long the loop is blocked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from statistics import median

import aiohttp
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import SecretStr

from anyrerank.langchain import AnyRerank as Compressor
from anyrerank.llama_index import AnyRerank as Postprocessor
from tests.benchmarks.figures import Figure, stays_under
from tests.benchmarks.loopback import HEADERS, KEY, MODEL, PATH, QUERY, body, serving, texts

_CALLS, _DOCUMENTS, _ROUNDS = 100, 30, 7
_TICK = 0.001

Measured = tuple[float, float]
"""Seconds for all calls together, and the longest that the loop was blocked."""


def run() -> list[Figure]:
    with serving() as server:
        bare, *adapters = asyncio.run(_measured(f"{server}/after/500"))
    figures = []
    for name, (total, blocked) in zip(("LangChain", "LlamaIndex"), adapters, strict=True):
        peer_total, peer_blocked = bare
        what = f"{name}, {_CALLS} at once, bare aiohttp"
        figures += [
            stays_under("concurrency", what, total, peer_total, "s", limit=1.0),
            stays_under(
                "concurrency", f"{name}, loop blocked, likewise", 1000 * blocked, 1000 * peer_blocked, "ms", limit=50
            ),
        ]
    return figures


async def _measured(base: str) -> list[Measured]:
    written = texts(_DOCUMENTS)
    documents = [Document(page_content=text) for text in written]
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in written]
    compressor = Compressor(model=MODEL, api_key=SecretStr(KEY), api_base=base)
    postprocessor = Postprocessor(model=MODEL, api_key=SecretStr(KEY), api_base=base)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def bare() -> object:
            async with session.post(base + PATH, json=body(written), headers=HEADERS) as answer:
                return json.loads(await answer.read())["results"][0]

        async def in_langchain() -> object:
            return (await compressor.acompress_documents(documents, QUERY))[0]

        async def in_llama_index() -> object:
            return (await postprocessor.apostprocess_nodes(nodes, query_str=QUERY))[0]

        calls = (bare, in_langchain, in_llama_index)
        for call in calls:
            await call()
        rounds = [[await _at_once(call) for call in calls] for _ in range(_ROUNDS)]
    return [_medians(column) for column in zip(*rounds, strict=True)]


def _medians(measured: tuple[Measured, ...]) -> Measured:
    totals, gaps = zip(*measured, strict=True)
    return median(totals), median(gaps)


async def _at_once(call: Callable[[], Awaitable[object]]) -> Measured:
    gaps: list[float] = []
    ticking = asyncio.create_task(_tick(gaps))
    await asyncio.sleep(_TICK)
    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(_CALLS)))
    total = time.perf_counter() - began
    await asyncio.sleep(_TICK)
    ticking.cancel()
    return total, max(gaps)


async def _tick(gaps: list[float]) -> None:
    """Note by how much each short sleep takes longer than it should."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_TICK)
        gaps.append(time.perf_counter() - began - _TICK)
