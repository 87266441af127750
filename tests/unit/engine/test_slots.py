from __future__ import annotations

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from anyrerank import Reranker, Router, rerank
from anyrerank._core.engine.slots import Slots
from anyrerank._core.runtime import Blocking, Deadline, Flow, Invoke, arun, run
from anyrerank.errors import APITimeoutError
from anyrerank.testing import Exchange, StubServer


class Gauge:
    """How many flows run at once."""

    def __init__(self) -> None:
        self.now = self.highest = 0
        self._lock = threading.Lock()

    def change(self, by: int) -> None:
        with self._lock:
            self.now += by
            self.highest = max(self.highest, self.now)


def counted(gauge: Gauge) -> Flow[None]:
    gauge.change(1)
    yield Invoke(lambda: None, lambda: asyncio.sleep(0))
    yield Blocking(lambda: None)
    gauge.change(-1)


def test_slots_limit_flows_over_threads_and_loops() -> None:
    slots, gauge = Slots(3), Gauge()

    async def many() -> None:
        await asyncio.gather(*(arun(slots.holding(counted(gauge))) for _ in range(20)))

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(asyncio.run, many()), pool.submit(asyncio.run, many())]
        work += [pool.submit(run, slots.holding(counted(gauge))) for _ in range(20)]
        for each in work:
            each.result(30)
    assert 1 <= gauge.highest <= 3
    assert run(slots.holding(counted(gauge))) is None


def test_a_slot_is_free_again_after_a_failure() -> None:
    def failing() -> Flow[None]:
        yield Invoke(lambda: None)
        raise ZeroDivisionError

    slots, gauge = Slots(1), Gauge()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            run(slots.holding(failing()))
    run(slots.holding(counted(gauge)))


async def test_a_flow_waits_for_a_slot_until_its_deadline_and_then_leaves_the_line() -> None:
    slots, release = Slots(1), asyncio.Event()

    def holding() -> Flow[None]:
        yield Invoke(release.wait)

    holder = asyncio.create_task(arun(slots.holding(holding())))
    await asyncio.sleep(0)
    with pytest.raises(APITimeoutError):
        await arun(slots.holding(counted(Gauge())), deadline=Deadline.after(0.05))
    release.set()
    await holder
    await arun(slots.holding(counted(Gauge())))


async def test_a_cancelled_flow_leaves_the_line() -> None:
    slots, release = Slots(1), asyncio.Event()

    def holding() -> Flow[None]:
        yield Invoke(release.wait)

    holder = asyncio.create_task(arun(slots.holding(holding())))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(arun(slots.holding(counted(Gauge()))))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    release.set()
    await holder
    await arun(slots.holding(counted(Gauge())))


def test_a_pickle_has_all_slots_free() -> None:
    slots = Slots(2)
    slots._enter()
    assert pickle.loads(pickle.dumps(slots))._free == 2  # noqa: S301


def test_max_parallel_requests_limits_batches_of_all_calls() -> None:
    gauge, both = Gauge(), threading.Barrier(2)

    def handler(exchange: Exchange) -> None:
        gauge.change(1)
        both.wait(10)
        gauge.change(-1)
        exchange.rank()

    with StubServer(handler=handler) as server:
        params = {"model": "cohere_compatible/m", "api_base": server.url, "max_parallel_requests": 2}
        reranker = Router([{"model_name": "m", "litellm_params": params}], batch_size=1).as_reranker("m")

        async def many() -> None:
            await asyncio.gather(*(reranker.arerank("q", ["a", "b", "c"]) for _ in range(5)))

        with ThreadPoolExecutor(4) as pool:
            work = pool.submit(asyncio.run, many())
            reranker.rerank("q", ["a", "b", "c"])
            work.result(30)
    assert len(server.requests) == 18
    assert gauge.highest == 2


def test_max_parallel_requests_of_a_reranker_waits_until_the_deadline() -> None:
    entered, leave = threading.Event(), threading.Event()

    def handler(exchange: Exchange) -> None:
        entered.set()
        leave.wait(10)
        exchange.rank()

    with StubServer(handler=handler) as server, ThreadPoolExecutor(1) as pool:
        reranker = Reranker("cohere_compatible/m", api_base=server.url, max_parallel_requests=1)
        first = pool.submit(reranker.rerank, "q", ["a"])
        assert entered.wait(10)
        with pytest.raises(APITimeoutError):
            reranker.rerank("other", ["a"], timeout=0.05)
        leave.set()
        assert len(first.result(10).results) == 1
    assert len(server.requests) == 1


def test_max_parallel_requests_limits_calls_of_the_function_together() -> None:
    entered, leave = threading.Event(), threading.Event()

    def handler(exchange: Exchange) -> None:
        entered.set()
        leave.wait(10)
        exchange.rank()

    with StubServer(handler=handler) as server, ThreadPoolExecutor(1) as pool:
        given: dict[str, Any] = {"model": "cohere_compatible/m", "api_base": server.url, "max_parallel_requests": 1}
        first = pool.submit(rerank, query="q", documents=["a"], **given)
        assert entered.wait(10)
        with pytest.raises(APITimeoutError):
            rerank(query="other", documents=["a"], timeout=0.05, **given)
        leave.set()
        assert len(first.result(10).results) == 1
    assert len(server.requests) == 1
