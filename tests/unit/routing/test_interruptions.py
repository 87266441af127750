"""What a call that is cut off leaves behind: nothing in flight, nothing cooling down, and its cost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from random import Random

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.harness import DOCUMENTS, QUERY
from tests.support.loopback import MAX_WAIT, Line, Loopback
from tests.support.routing import Worlds, entry, fails, ids, limited, ok, status

from anyrerank import Budget, RerankError, RerankResponse, Router
from anyrerank._core.routing import STRATEGIES


class _Stopped(BaseException):
    pass


@pytest.mark.parametrize("kind", [_Stopped, KeyboardInterrupt, ZeroDivisionError])
def test_a_call_that_an_exception_cuts_off_leaves_nothing_in_flight(
    sync_world: Worlds, kind: type[BaseException]
) -> None:
    def torn(request: httpx.Request) -> httpx.Response:
        raise kind

    budget = Budget(0.004)
    here = sync_world(a=torn)
    router = here.router(entry("a", budget=budget))
    with pytest.raises(kind):
        here.ask(router)
    assert (status(router).in_flight, status(router).cooldown, status(router).requests) == (0, 0.0, 1)
    assert budget.spent() == 0.002  # it may have been billed
    here.answers.clear()
    assert ids(here.ask(router)) == ["a"]


async def test_a_cancelled_call_leaves_nothing_in_flight(serve: Callable[..., Loopback]) -> None:
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(line: Line) -> None:
        loop.call_soon_threadsafe(reached.set)
        line.client_left()

    server = serve(hang)
    async with Router([entry("a", api_base=server.url)]) as router:
        task = asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS))
        await reached.wait()
        assert status(router).in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (status(router).in_flight, status(router).cooldown) == (0, 0.0)


def test_queries_that_a_failure_stops_leave_nothing_in_flight() -> None:
    """The slow query has its answer when the failure of the other one stops it, before it is settled."""
    slow_is_asked, failed = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if b"slow" in request.content:
            slow_is_asked.set()
            assert failed.wait(MAX_WAIT)
            return ok(request)
        assert slow_is_asked.wait(MAX_WAIT)
        return fails(401)(request)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        router = Router([entry("a")], http_client=client)
        with pytest.raises(RerankError):
            router.rerank_many("r", ["slow", "wrong"], [DOCUMENTS] * 2)
        assert status(router).in_flight == 1
        failed.set()
        assert eventually(lambda: status(router).in_flight == 0)
    assert status(router).requests == 2


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something becomes true while other threads run."""
    pause = threading.Event()
    return any(holds() or pause.wait(0.001) for _ in range(5000))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
async def test_many_calls_of_which_some_are_cancelled_leave_nothing_in_flight(clock: Clock, strategy: str) -> None:
    random = Random(5)
    clock.rng = random.random

    async def answer(request: httpx.Request) -> httpx.Response:
        for _ in range(random.randrange(9)):
            await asyncio.sleep(0)
        return random.choice([ok, ok, fails(), fails(401), limited(3)])(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        entries = [*(entry(name, rpm=40) for name in "abc"), entry("x", "x", max_budget=0.05)]
        router = Router(entries, routing_strategy=strategy, http_client=client, fallbacks={"r": ["x"]})
        calls = [asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS)) for _ in range(64)]
        for call in calls[::3]:
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)
            call.cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(each) for each in found} >= {RerankResponse, asyncio.CancelledError}
    assert all(isinstance(each, RerankResponse | RerankError | asyncio.CancelledError) for each in found)
    assert {each.in_flight for each in router.deployment_status()} == {0}


async def test_a_call_that_is_cancelled_while_it_waits_holds_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.Event()

    async with httpx.AsyncClient(transport=httpx.MockTransport(ok)) as client:
        router = Router([entry("a", rpm=1)], http_client=client, timeout=None)
        await router.arerank("r", QUERY, DOCUMENTS)

        async def forever(seconds: float, result: object = None) -> None:
            waiting.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio, "sleep", forever)
        task = asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (status(router).in_flight, status(router).requests) == (0, 1)
