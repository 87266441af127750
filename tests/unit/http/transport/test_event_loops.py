"""Event loops one after another and at once, and cancelled calls."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest
from tests.support.harness import KEY
from tests.support.loopback import MAX_WAIT, Line, Loopback, in_turn, well
from tests.unit.http.transport.network import DOCUMENTS, QUERY, silence

from anyrerank import ConfigurationError, Reranker


@contextmanager
def no_complaints(caplog: pytest.LogCaptureFixture, *, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Nothing is left for the garbage collector to warn of (`but` these), and nothing is logged by asyncio."""
    caplog.set_level(logging.INFO, logger="asyncio")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        for _ in range(3):
            gc.collect()
    assert [text for each in caught if not (text := str(each.message)).startswith(but)] == []
    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


@pytest.mark.slow
def test_event_loops_one_after_another(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url)
    with no_complaints(caplog):
        for _ in range(3):
            assert len(asyncio.run(reranker.arerank(QUERY, DOCUMENTS)).results) == 2
            assert server.wait_until_no_connection()


@pytest.mark.slow
def test_event_loops_at_once(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    together = threading.Barrier(6)

    def script(line: Line) -> None:
        together.wait(MAX_WAIT)
        well(line)

    server.script = script
    reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url)

    def loop(_: int) -> int:
        async def calls() -> int:
            answers = await asyncio.gather(*(reranker.arerank(QUERY, DOCUMENTS) for _ in range(2)))
            return sum(len(answer.results) for answer in answers)

        return asyncio.run(calls())

    with no_complaints(caplog):
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(loop, range(3))) == [4, 4, 4]
        assert server.wait_until_no_connection()


@pytest.mark.slow
def test_a_loop_that_is_closed_without_a_farewell(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url)
    # of sockets that were open when a loop was closed asyncio itself warns, not this package
    with no_complaints(caplog, but=("unclosed <socket", "unclosed transport")):
        for _ in range(3):
            loop = asyncio.new_event_loop()
            assert len(loop.run_until_complete(reranker.arerank(QUERY, DOCUMENTS)).results) == 2
            loop.close()
            del loop
        assert len(asyncio.run(reranker.arerank(QUERY, DOCUMENTS)).results) == 2
        del reranker
    assert server.wait_until_no_connection()


@pytest.mark.slow
def test_a_reranker_that_is_dropped_while_its_loop_runs(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    async def use() -> None:
        for _ in range(3):
            reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url)
            assert len((await reranker.arerank(QUERY, DOCUMENTS)).results) == 2
            del reranker
            gc.collect()

    with no_complaints(caplog):
        asyncio.run(use())
    assert server.wait_until_no_connection()


async def test_a_synchronous_call_inside_a_running_loop(server: Loopback) -> None:
    with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url) as reranker:
        many = reranker.rerank_many([QUERY] * 3, [DOCUMENTS] * 3)
        assert [len(reranker.rerank(QUERY, DOCUMENTS).results), len(many)] == [2, 3]
        async with reranker:
            assert len((await reranker.arerank(QUERY, DOCUMENTS)).results) == 2


@pytest.mark.parametrize("own", [False, True])
async def test_cancelling_aborts_the_request(own: bool, server: Loopback) -> None:
    server.script = in_turn(silence, silence, well)
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    def script(line: Line) -> None:
        loop.call_soon_threadsafe(arrived.set)
        silence(line)

    server.script = script
    async with httpx.AsyncClient() as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, http_client=client if own else None)
        async with reranker:
            task = asyncio.create_task(reranker.arerank(QUERY, DOCUMENTS))
            await asyncio.wait_for(arrived.wait(), MAX_WAIT)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.abandoned.wait, MAX_WAIT)
            server.script = well
            assert len((await reranker.arerank(QUERY, DOCUMENTS)).results) == 2
    assert len(server.hits) == 2


async def test_cancelling_aborts_every_batch(server: Loopback) -> None:
    arrived = threading.Barrier(4)

    def script(line: Line) -> None:
        arrived.wait(MAX_WAIT)
        silence(line)

    server.script = script
    async with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, batch_size=1) as reranker:
        task = asyncio.create_task(reranker.arerank(QUERY, ["a 1", "b 2", "c 3"]))
        await asyncio.to_thread(arrived.wait, MAX_WAIT)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert await asyncio.to_thread(server.wait_until_no_connection)
    assert len(server.hits) == 3


def test_async_call_without_asyncio_says_what_to_do(server: Loopback) -> None:
    reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url)
    with pytest.raises(ConfigurationError, match="asynchronous calls need asyncio: under trio, call the synchronous"):
        reranker.arerank(QUERY, DOCUMENTS).send(None)
    assert server.hits == []
