"""Threads, processes and copies."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.support.harness import KEY, Mode
from tests.support.loopback import MAX_WAIT, Line, Loopback, well
from tests.unit.http.transport.network import DOCUMENTS, QUERY

from anyrerank import (
    Reranker,
)
from anyrerank._core.http import Transport


def test_sixteen_threads(server: Loopback) -> None:
    together = threading.Barrier(16)

    def script(line: Line) -> None:
        together.wait(MAX_WAIT)
        well(line)

    server.script = script
    with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, max_retries=0) as reranker:

        def call(number: int) -> list[int]:
            return [
                each.index
                for _ in range(3)
                for each in reranker.rerank(QUERY, [f"a {number + 2}", f"b {number + 1}"]).results
            ]

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(call, range(16))) == [[1, 0] * 3] * 16
    assert len(server.hits) == 48


COPIES: dict[str, Callable[[Reranker], Reranker]] = {
    "pickle": lambda reranker: pickle.loads(pickle.dumps(reranker)),  # noqa: S301  # made on the line itself
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.mark.parametrize("copied", list(COPIES.values()), ids=list(COPIES))
def test_copies_work_with_connections_of_their_own(
    copied: Callable[[Reranker], Reranker], mode: Mode, server: Loopback
) -> None:
    reranker = mode.reranker(api_base=server.url, top_n=1, headers={"x-tenant": "7"})
    mode.rerank(reranker, QUERY, DOCUMENTS)
    twin = copied(reranker)
    assert len(mode.rerank(twin, QUERY, DOCUMENTS).results) == 1
    assert server.hits[0] == server.hits[1]
    mode.close(twin)
    assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 1


def test_a_deep_copy_keeps_the_caller_s_own_client(server: Loopback) -> None:
    with httpx.Client(headers={"x-own": "yes"}) as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, http_client=client)
        copy.deepcopy(reranker).rerank(QUERY, DOCUMENTS)
    assert server.hits[0].headers["x-own"] == "yes"


def test_a_pickle_leaves_no_client_of_the_caller_behind_unsaid() -> None:
    with httpx.Client() as client, pytest.raises(TypeError, match="pickle"):
        pickle.dumps(Reranker("cohere/rerank-v3.5", http_client=client))


def test_a_transport_that_was_never_used_closes() -> None:
    Transport().close()
    asyncio.run(Transport().aclose())
