"""What a router adds to a call of the bare client, in sync and async."""

from __future__ import annotations

import asyncio
from typing import Any

from anyrerank import Reranker, Router
from tests.benchmarks.figures import Figure, adds
from tests.benchmarks.loopback import KEY, MODEL, QUERY, serving, texts
from tests.benchmarks.turns import aseconds, seconds

_TIMES = 2000


def run() -> list[Figure]:
    with serving() as address:
        params: dict[str, Any] = {"model": MODEL, "api_key": KEY, "api_base": address}
        entries: list[dict[str, Any]] = [
            {"model_name": "rerank", "litellm_params": {**params, "weight": weight}} for weight in (3, 2, 1)
        ]
        with Reranker(**params) as bare, Router(entries) as router:
            documents = texts(100)
            sync = seconds(
                [
                    lambda: router.rerank("rerank", QUERY, documents).results[0],
                    lambda: bare.rerank(QUERY, documents).results[0],
                ],
                times=_TIMES,
            )
        asynchronous = asyncio.run(_asynchronous(params, entries))
    return [
        adds("router", f"{mode}, three deployments, a Reranker", 1000 * ours, 1000 * peer, "ms", limit=0.1)
        for mode, (ours, peer) in (("sync", sync), ("async", asynchronous))
    ]


async def _asynchronous(params: dict[str, Any], entries: list[dict[str, Any]]) -> list[float]:
    documents = texts(100)
    async with Reranker(**params) as bare, Router(entries) as router:

        async def ours() -> object:
            return (await router.arerank("rerank", QUERY, documents)).results[0]

        async def peer() -> object:
            return (await bare.arerank(QUERY, documents)).results[0]

        return await aseconds([ours, peer], times=_TIMES)
