"""The driver of asynchronous calls."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeAlias

from anyrerank._core.runtime.effects import DEADLOCK, Call, Do, Effect, Flow, Gather, Sleep, T, Through, Wait
from anyrerank._core.runtime.messages import HttpRequest, HttpResponse
from anyrerank._core.runtime.sync_driver import (
    _EQUAL_CALL_TOOK_TOO_LONG,
    _GUARDED_TOO_LONG,
    _WORKED_TOO_LONG,
    _counted,
    _in_daemon,
    _no_exchange,
)
from anyrerank._core.runtime.timeouts import timeout
from anyrerank._core.runtime.turns import short_turn
from anyrerank.errors import APITimeoutError

AsyncExchange: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]


async def arun(flow: Flow[T], exchange: AsyncExchange = _no_exchange) -> T:
    """Drive `flow` on the running event loop; cancelling the task is thrown into the flow.

    Args:
        exchange: Sends a request and reads the answer.
    """
    try:
        await short_turn()
        effect = next(flow)
        while True:
            try:
                outcome: Any
                outcome = await _aperform(effect, exchange)
                await short_turn()
            except BaseException as error:  # noqa: BLE001  a flow may clean up after anything
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        flow.close()


async def _aperform(effect: Effect, exchange: AsyncExchange) -> Any:
    if isinstance(effect, HttpRequest):
        return await exchange(effect)
    return await _APERFORM[type(effect)](effect, exchange)


async def _asleep(effect: Sleep, _: AsyncExchange) -> Any:
    return await asyncio.sleep(effect.seconds)


async def _ado(effect: Do, _: AsyncExchange) -> Any:
    outcome = effect.function()
    if not inspect.isawaitable(outcome):
        return outcome
    if effect.deadline is None:
        return await outcome
    try:
        async with timeout(max(0.0, effect.deadline - time.monotonic())):
            return await outcome
    except asyncio.TimeoutError:
        if time.monotonic() < effect.deadline:  # it is its own
            raise
        raise APITimeoutError(_GUARDED_TOO_LONG) from None


async def _athrough(effect: Through, _: AsyncExchange) -> Any:
    return await arun(effect.flow, effect.sender.asend)


async def _await(effect: Wait, _: AsyncExchange) -> Any:
    if effect.loop not in (None, asyncio.get_running_loop()):
        return DEADLOCK
    return await _aawaited(effect.future, effect.deadline)


async def _acall(call: Call, _: AsyncExchange) -> Any:
    if call.deadline is None:
        return await asyncio.to_thread(call.function)
    return await _aawaited(_in_daemon(call.function), call.deadline, _WORKED_TOO_LONG)


async def _aawaited(future: Future[Any], deadline: float | None, late: str = _EQUAL_CALL_TOOK_TOO_LONG) -> Any:
    """The result of `future`, which goes on whatever becomes of the task that waits here."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def tell(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(over.set)

    future.add_done_callback(tell)
    try:
        await asyncio.wait_for(over.wait(), None if deadline is None else max(0.0, deadline - time.monotonic()))
    except asyncio.TimeoutError:
        raise APITimeoutError(late) from None
    return future.result()


async def _agather(gather: Gather, exchange: AsyncExchange) -> list[Any]:
    if len(gather.flows) == 1:
        return [_counted(await arun(gather.flows[0], exchange), gather.done)]
    results: list[Any] = [None] * len(gather.flows)
    waiting = iter(enumerate(gather.flows))

    async def worker(places: Iterator[tuple[int, Flow[Any]]]) -> None:
        for place, flow in places:
            results[place] = _counted(await arun(flow, exchange), gather.done)

    tasks = [asyncio.create_task(worker(waiting)) for _ in range(min(gather.limit, len(gather.flows)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return results


_APERFORM: dict[type, Callable[..., Awaitable[Any]]] = {
    Sleep: _asleep,
    Call: _acall,
    Do: _ado,
    Through: _athrough,
    Wait: _await,
    Gather: _agather,
}
