"""What a call costs apart from the network: the transport hands back a response that is ready."""

from __future__ import annotations

import asyncio
import json

from anyrerank import Reranker
from anyrerank._core.http import DEFAULT_TLS, Tls, Transport
from anyrerank._core.runtime import Deadline, HttpRequest, HttpResponse
from tests.benchmarks.figures import Figure, within_ratio
from tests.benchmarks.loopback import KEY, MODEL, QUERY, body, texts
from tests.benchmarks.server import scores_of
from tests.benchmarks.turns import aseconds, seconds

_COUNT = 100
_TIMES = 2000


class _Ready(Transport):
    """Answers at once."""

    def __init__(self) -> None:
        super().__init__()
        self._response = HttpResponse(status=200, headers={}, content=scores_of(_COUNT))

    def send(self, request: HttpRequest, deadline: Deadline, tls: Tls = DEFAULT_TLS) -> HttpResponse:
        return self._response

    async def asend(self, request: HttpRequest, deadline: Deadline, tls: Tls = DEFAULT_TLS) -> HttpResponse:
        return self._response


def run() -> list[Figure]:
    documents = texts(_COUNT)
    reranker = Reranker._for_one_call({"model": MODEL, "custom_llm_provider": None, "api_key": KEY}, _Ready())

    def ours() -> object:
        return reranker.rerank(QUERY, documents).results[0]

    async def ours_async() -> object:
        return (await reranker.arerank(QUERY, documents)).results[0]

    def dumps() -> object:
        return json.dumps(body(documents))

    async def dumps_async() -> object:
        return dumps()

    sync = seconds([ours, dumps], times=_TIMES)
    asynchronous = asyncio.run(aseconds([ours_async, dumps_async], times=_TIMES))
    return [_figure("sync", *sync), _figure("async", *asynchronous)]


def _figure(mode: str, took: float, peer: float) -> Figure:
    return within_ratio(
        "own_time", f"{mode}, 100 documents, json.dumps alone", 1000 * took, 1000 * peer, "ms", limit=0.45
    )
