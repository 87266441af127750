"""Connections: kept, shared and closed."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from tests.support.harness import KEY, Mode
from tests.support.loopback import Line, Loopback, well
from tests.unit.http.transport.network import DOCUMENTS, QUERY, failure, works

from anyrerank import (
    APIConnectionError,
    APITimeoutError,
    Reranker,
)


def test_connections_are_kept(way: Mode, server: Loopback) -> None:
    reranker = way.reranker(api_base=server.url)
    for _ in range(3):
        works(way, reranker)
    assert (len(server.hits), server.connections) == (3, 1)


def test_close_and_use_again(mode: Mode, server: Loopback) -> None:
    reranker = mode.reranker(api_base=server.url)
    for _ in range(2):
        works(mode, reranker)
        mode.close(reranker)
        assert server.wait_until_no_connection()
    mode.close(reranker)


def test_a_server_that_accepts_no_connection_is_told_from_a_slow_one(mode: Mode) -> None:
    def fails(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("made by the test", request=request)

    client = mode.client(transport=httpx.MockTransport(fails))
    error = failure(mode, mode.reranker(http_client=client, timeout=60))
    assert (type(error), error.message) == (APITimeoutError, "timed out: no connection within 10 s")


def test_context_managers_close(server: Loopback) -> None:
    async def use(reranker: Reranker) -> bool:
        async with reranker as same:
            assert len((await same.arerank(QUERY, DOCUMENTS)).results) == 2
        return await asyncio.to_thread(server.wait_until_no_connection)

    with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url) as reranker:
        assert len(reranker.rerank(QUERY, DOCUMENTS).results) == 2
    assert server.wait_until_no_connection()
    assert asyncio.run(use(reranker))


def test_a_connection_that_the_server_closed_meanwhile(way: Mode, server: Loopback) -> None:
    def once(line: Line) -> None:
        well(line)
        line.hang_up()

    server.script = once
    reranker = way.reranker(api_base=server.url, max_retries=1)
    for _ in range(3):
        works(way, reranker)
        assert server.wait_until_no_connection()


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("http://127.0.0.1:9", "check that a server runs at this address"),
        ("http://no.such.host.invalid", "check the host in api_base"),
    ],
)
def test_connection_that_fails_says_what_to_do(address: str, advice: str, mode: Mode) -> None:
    with pytest.raises(APIConnectionError, match=advice):
        mode.rerank(mode.reranker(api_base=address, max_retries=0), "q", ["a"])
