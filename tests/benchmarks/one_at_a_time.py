"""A synchronous call against the same exchange with a bare httpx client."""

from __future__ import annotations

import json

import httpx

from anyrerank import Reranker
from tests.benchmarks.figures import Figure, within_ratio
from tests.benchmarks.loopback import HEADERS, KEY, MODEL, PATH, QUERY, body, serving, texts
from tests.benchmarks.turns import seconds

_TIMES = 1000


def run() -> list[Figure]:
    documents = texts(100)
    with serving() as address, httpx.Client() as client, Reranker(MODEL, api_key=KEY, api_base=address) as reranker:

        def ours() -> object:
            return reranker.rerank(QUERY, documents).results[0]

        def bare() -> object:
            return json.loads(client.post(address + PATH, json=body(documents), headers=HEADERS).content)["results"][0]

        took, peer = (1000 * each for each in seconds([ours, bare], times=_TIMES))
    return [within_ratio("sync", "100 documents, bare httpx.Client", took, peer, "ms", limit=1.05)]
