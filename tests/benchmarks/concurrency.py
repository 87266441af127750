"""Adapter calls in flight at a server that takes 0.5 s: the time of all, and how long they block the event loop."""

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

_IN_FLIGHT = (64, 100, 512)
_TIMED = 100
"""How many calls are held to a limit of 1 s for all."""
_DOCUMENTS, _ROUNDS = 30, 7
_TICK = 0.001
_FRAMEWORKS = ("LangChain", "LlamaIndex")

Measured = tuple[float, float]
"""Seconds for all calls together, and the longest time for which the loop was blocked."""


def run() -> list[Figure]:
    with serving() as server:
        measured = asyncio.run(_measured(f"{server}/after/500"))
    return [figure for count, columns in measured.items() for figure in _figures(count, *columns)]


def _figures(count: int, bare: Measured, *adapters: Measured) -> list[Figure]:
    peer_total, peer_blocked = bare
    figures = []
    for name, (total, blocked) in zip(_FRAMEWORKS, adapters, strict=True):
        what = f"{name}, {count} in flight, bare aiohttp"
        if count == _TIMED:
            figures.append(stays_under("concurrency", what, total, peer_total, "s", limit=1.0))
        figures.append(
            stays_under("concurrency", f"{what}, loop blocked", 1000 * blocked, 1000 * peer_blocked, "ms", limit=50)
        )
    return figures


async def _measured(base: str) -> dict[int, list[Measured]]:
    """For each number of calls: bare aiohttp, then each adapter."""
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
        found = {}
        for count in _IN_FLIGHT:
            rounds = [[await _at_once(call, count) for call in calls] for _ in range(_ROUNDS)]
            found[count] = [_medians(column) for column in zip(*rounds, strict=True)]
    await compressor.aclose()
    await postprocessor.aclose()
    return found


def _medians(measured: tuple[Measured, ...]) -> Measured:
    totals, gaps = zip(*measured, strict=True)
    return median(totals), median(gaps)


async def _at_once(call: Callable[[], Awaitable[object]], count: int) -> Measured:
    gaps: list[float] = []
    ticking = asyncio.create_task(_tick(gaps))
    await asyncio.sleep(_TICK)
    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(count)))
    total = time.perf_counter() - began
    await asyncio.sleep(_TICK)
    ticking.cancel()
    return total, max(gaps)


async def _tick(gaps: list[float]) -> None:
    """Note by how much each short sleep is longer than it should be."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_TICK)
        gaps.append(time.perf_counter() - began - _TICK)
