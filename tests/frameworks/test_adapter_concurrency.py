"""Both adapters with threads, tasks and event loops."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.support.frameworks import Face, Wire, well
from tests.support.harness import KEY
from tests.support.loopback import MAX_WAIT, Line, Loopback
from tests.support.loopback import well as ranking_well

ITEMS = ["low 9", "high 0", "middle 4"]
RANKED = [("high 0", 1.0), ("middle 4", 0.2), ("low 9", 0.1)]
MANY = 100


def _client(handler: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(handler))


async def test_hundred_calls_are_in_flight_at_once(framework: Face) -> None:
    arrived, all_arrived = 0, asyncio.Event()
    threads = set()

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal arrived
        arrived += 1
        threads.add(threading.get_ident())
        if arrived == MANY:
            all_arrived.set()
        await asyncio.wait_for(all_arrived.wait(), MAX_WAIT)
        return well(request)

    adapter = framework.make(http_client=_client(answer))
    calls = [framework.arerank(adapter, [f"a 0.{n}", f"b 0.{n + 1}"], f"query {n}") for n in range(1, MANY + 1)]
    found = [framework.pairs(items) for items in await asyncio.gather(*calls)]
    assert [pairs[0][0] for pairs in found] == [
        max((f"a 0.{n}", f"b 0.{n + 1}"), key=lambda text: float(text[2:])) for n in range(1, MANY + 1)
    ]
    assert threads == {threading.get_ident()}


async def test_cancelling_aborts_the_request(framework: Face) -> None:
    arrived, aborted = asyncio.Event(), asyncio.Event()

    async def never(request: httpx.Request) -> httpx.Response:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            aborted.set()
        raise AssertionError

    task = asyncio.create_task(framework.arerank(framework.make(http_client=_client(never)), ITEMS))
    await asyncio.wait_for(arrived.wait(), MAX_WAIT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert aborted.is_set()


async def test_cancelling_closes_the_connection(framework: Face, server: Loopback) -> None:
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()

    def silent(line: Line) -> None:
        loop.call_soon_threadsafe(arrived.set)
        line.client_left()

    server.script = silent
    adapter = framework.make(api_base=server.url)
    task = asyncio.create_task(framework.arerank(adapter, ITEMS))
    await asyncio.wait_for(arrived.wait(), MAX_WAIT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.abandoned.wait, MAX_WAIT)


def test_sixteen_threads_share_one_adapter(face: Face) -> None:
    together = threading.Barrier(16)
    wire = Wire()
    adapter = face.make(wire)

    def call(number: int) -> Any:
        together.wait(MAX_WAIT)
        return face.ranked(adapter, [f"t{number} 0.1", f"t{number} 0.2"], f"query {number}")

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(call, range(16)))
    assert found == [[(f"t{number} 0.2", 0.2), (f"t{number} 0.1", 0.1)] for number in range(16)]
    assert {(body["query"], body["documents"][0]) for body in wire.bodies} == {
        (f"query {number}", f"t{number} 0.1") for number in range(16)
    }


def test_sixteen_threads_share_the_default_client(face: Face, server: Loopback) -> None:
    together = threading.Barrier(16)
    adapter = face.make(api_base=server.url)

    def call(number: int) -> Any:
        together.wait(MAX_WAIT)
        return face.ranked(adapter, [f"t{number} 1", f"t{number} 0"])

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(call, range(16)))
    adapter._core().close()
    assert found == [[(f"t{number} 0", 1.0), (f"t{number} 1", 0.5)] for number in range(16)]
    assert len(server.hits) == 16


def test_event_loops_one_after_another(framework: Face, server: Loopback) -> None:
    adapter = framework.make(api_base=server.url)
    for _ in range(3):
        assert framework.pairs(asyncio.run(framework.arerank(adapter, ITEMS))) == RANKED
    assert len(server.hits) == 3
    assert server.wait_until_no_connection()


def test_event_loops_at_once(framework: Face, server: Loopback) -> None:
    together = threading.Barrier(4)

    def wait(line: Line) -> None:
        together.wait(MAX_WAIT)
        ranking_well(line)

    server.script = wait
    adapter = framework.make(api_base=server.url)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(asyncio.run, framework.arerank(adapter, ITEMS)) for _ in range(4)]
    assert [framework.pairs(call.result()) for call in calls] == [RANKED] * 4


async def test_sync_call_works_inside_a_running_loop(framework: Face, server: Loopback) -> None:
    adapter = framework.make(api_base=server.url, batch_size=1)
    assert framework.ranked(adapter, ITEMS) == RANKED
    assert framework.pairs(await framework.arerank(adapter, ITEMS)) == RANKED
    assert [hit.headers["authorization"] for hit in server.hits] == [f"Bearer {KEY}"] * 6
    await adapter._core().aclose()


async def test_client_of_the_other_mode_is_not_used(framework: Face, server: Loopback) -> None:
    wire = Wire()
    adapter = framework.make(api_base=server.url, http_client=wire.client(asynchronous=False))
    assert framework.pairs(await framework.arerank(adapter, ITEMS)) == RANKED
    assert (len(server.hits), len(wire.requests)) == (1, 0)
    framework.rerank(adapter, ITEMS)
    assert (len(server.hits), len(wire.requests)) == (1, 1)


async def test_closing_an_adapter_closes_its_connections(framework: Face, server: Loopback) -> None:
    adapter = framework.make(api_base=server.url)
    framework.ranked(adapter, ITEMS)
    assert server.connections == 1
    adapter.close()
    assert server.wait_until_no_connection()
    await framework.arerank(adapter, ITEMS)
    await adapter.aclose()
    assert server.wait_until_no_connection()
