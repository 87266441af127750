"""Identical concurrent calls are sent once."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.support.frameworks import Answer, Wire, refusing, well
from tests.support.harness import KEY, QUERY
from tests.unit.engine.cached import TEXTS

from anyrerank import (
    APITimeoutError,
    MemoryCache,
    RateLimitError,
    Reranker,
)


async def turns_until(over: Callable[[], bool]) -> None:
    while not over():  # noqa: ASYNC110  threads open the gate too
        await asyncio.sleep(0)


class Gate:
    """Holds back every response until it is opened, and records the requests."""

    def __init__(self, answer: Answer = well) -> None:
        self.answer = answer
        self.opened = threading.Event()
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert self.opened.wait(10)
        return self.answer(request)

    async def later(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await turns_until(self.opened.is_set)
        return self.answer(request)


def gated(gate: Gate, *, asynchronous: bool, **options: Any) -> Reranker:
    client: httpx.Client | httpx.AsyncClient
    if asynchronous:
        client = httpx.AsyncClient(transport=httpx.MockTransport(gate.later))
    else:
        client = httpx.Client(transport=httpx.MockTransport(gate))
    usual = {"api_key": KEY, "http_client": client, "max_retries": 0, "timeout": 10.0, "cache": MemoryCache()}
    return Reranker("cohere/rerank-v3.5", **{**usual, **options})


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_identical_concurrent_calls_are_sent_once() -> None:
    gate = Gate()
    reranker = gated(gate, asynchronous=True)
    calls = [asyncio.create_task(reranker.arerank(QUERY, TEXTS)) for _ in range(64)]
    await turns()
    gate.opened.set()
    responses = await asyncio.gather(*calls)
    assert len(gate.requests) == 1
    assert {response.results.scores for response in responses} == {(0.9, 0.5, 0.1)}
    assert sorted(response.cached for response in responses) == [0, *[3] * 63]
    assert sum(response.cost or 0 for response in responses) == pytest.approx(0.002)


def test_identical_calls_of_threads_are_sent_once() -> None:
    gate = Gate()
    reranker = gated(gate, asynchronous=False)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(reranker.rerank, QUERY, TEXTS) for _ in range(8)]
        while not gate.requests:
            time.sleep(0)
        gate.opened.set()
        responses = [call.result() for call in calls]
    assert len(gate.requests) == 1
    assert {response.results.scores for response in responses} == {(0.9, 0.5, 0.1)}


async def test_overlapping_calls_send_each_document_once() -> None:
    gate = Gate()
    reranker = gated(gate, asynchronous=True)
    calls = [asyncio.create_task(reranker.arerank(QUERY, TEXTS[:2]))]
    await turns()
    calls.append(asyncio.create_task(reranker.arerank(QUERY, TEXTS[1:])))
    await turns()
    gate.opened.set()
    first, second = await asyncio.gather(*calls)
    assert [json.loads(request.content)["documents"] for request in gate.requests] == [TEXTS[:2], TEXTS[2:]]
    assert (first.cached, second.cached) == (0, 1)
    assert second.results.scores == (0.9, 0.5)


async def test_calls_that_wait_for_one_that_fails_send_their_requests_concurrently() -> None:
    gate = Gate()

    def refuse_and_close(request: httpx.Request) -> httpx.Response:
        gate.opened, gate.answer = threading.Event(), well
        return refusing(429)(request)

    gate.answer = refuse_and_close
    reranker = gated(gate, asynchronous=True)
    calls = [asyncio.create_task(reranker.arerank(QUERY, TEXTS)) for _ in range(4)]
    await turns()
    assert len(gate.requests) == 1
    gate.opened.set()
    await turns()
    assert len(gate.requests) == 4
    gate.opened.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(RateLimitError) == 1
    assert (await reranker.arerank(QUERY, TEXTS)).cached == 3


async def test_cancelled_call_is_taken_over_by_one_that_waits() -> None:
    gate = Gate()
    reranker = gated(gate, asynchronous=True)
    first = asyncio.create_task(reranker.arerank(QUERY, TEXTS))
    await turns()
    others = [asyncio.create_task(reranker.arerank(QUERY, TEXTS)) for _ in range(20)]
    await turns()
    first.cancel()
    await turns()
    gate.opened.set()
    responses = await asyncio.gather(*others)
    assert len(gate.requests) == 2
    assert sorted(response.cached for response in responses) == [0, *[3] * 19]
    assert (await reranker.arerank(QUERY, TEXTS)).cached == 3


async def test_call_on_another_event_loop_is_not_waited_for() -> None:
    gate = Gate()
    reranker = gated(gate, asynchronous=True)
    first = asyncio.create_task(reranker.arerank(QUERY, TEXTS))
    await turns()
    gate.opened.set()
    with ThreadPoolExecutor(1) as pool:  # as a wrapper does that makes asynchronous calls from synchronous code
        second = pool.submit(lambda: asyncio.run(reranker.arerank(QUERY, TEXTS)))
        assert second.result(5).cached == 0
    assert (await first).cached == 0
    assert len(gate.requests) == 2


@pytest.mark.parametrize(("leaver", "requests"), [("first", 2), ("second", 1)])
async def test_cancelled_call_does_not_cancel_an_identical_one(leaver: str, requests: int) -> None:
    gate = Gate()
    reranker = gated(gate, asynchronous=True)
    calls = {}
    for name in ("first", "second"):
        calls[name] = asyncio.create_task(reranker.arerank(QUERY, TEXTS))
        await turns()
    cancelled = calls.pop(leaver)
    cancelled.cancel()
    await turns()
    gate.opened.set()
    (left,) = calls.values()
    assert (await left).results.scores == (0.9, 0.5, 0.1)
    assert cancelled.cancelled()
    assert len(gate.requests) == requests


async def test_call_waits_no_longer_than_its_own_timeout() -> None:
    gate = Gate()
    reranker = gated(gate, asynchronous=True)
    first = asyncio.create_task(reranker.arerank(QUERY, TEXTS))
    await turns()
    with pytest.raises(APITimeoutError, match="identical request"):
        await reranker.arerank(QUERY, TEXTS, timeout=0.01)
    gate.opened.set()
    assert (await first).cached == 0


@pytest.mark.parametrize("threads", [False, True])
async def test_synchronous_call_does_not_wait_for_the_event_loop_that_it_blocks(threads: bool) -> None:
    """On its own thread, and on threads that it starts."""
    gate, cache = Gate(), MemoryCache()
    first = asyncio.create_task(gated(gate, asynchronous=True, cache=cache).arerank(QUERY, TEXTS))
    await turns()
    wire = Wire()
    with httpx.Client(transport=httpx.MockTransport(wire)) as client:
        concurrent = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, cache=cache, timeout=5)
        if threads:
            found = concurrent.rerank_many([QUERY, "another"], [TEXTS] * 2)
        else:
            found = [concurrent.rerank(QUERY, TEXTS)]
    assert {response.results.scores for response in found} == {(0.9, 0.5, 0.1)}
    assert len(wire.requests) == len(found)
    gate.opened.set()
    assert (await first).results.scores == (0.9, 0.5, 0.1)


async def test_calls_with_different_caches_do_not_wait_for_each_other() -> None:
    gate = Gate()
    calls = [asyncio.create_task(gated(gate, asynchronous=True).arerank(QUERY, TEXTS)) for _ in range(2)]
    await turns()
    gate.opened.set()
    assert [response.cached for response in await asyncio.gather(*calls)] == [0, 0]
