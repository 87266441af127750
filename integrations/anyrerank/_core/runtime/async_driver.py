"""The asynchronous driver."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from anyrerank._core.runtime.checks import IDENTICAL, LOOK_UP, check_not_passed, check_time_for, no_sender
from anyrerank._core.runtime.deadline import NO_DEADLINE, Deadline, timed_out
from anyrerank._core.runtime.effects import AsyncSend, Blocking, Effect, Flow, Gather, Invoke, Scope, Sleep, T, Wait
from anyrerank._core.runtime.messages import HttpRequest
from anyrerank._core.runtime.threads import in_daemon_thread
from anyrerank._core.runtime.timeouts import timeout


@dataclass(frozen=True, slots=True)
class Context:
    """What the effects of a flow are performed with."""

    send: AsyncSend
    deadline: Deadline


async def arun(flow: Flow[T], send: AsyncSend = no_sender, deadline: Deadline = NO_DEADLINE) -> T:
    """Drive `flow` on the running event loop; a cancellation of the task is thrown into the flow.

    Args:
        flow: Not started yet.
        send: Sends a request and reads the response.
        deadline: When the flow must have finished.
    """
    return await _drive(flow, Context(send, deadline))


async def _drive(flow: Flow[T], context: Context) -> T:
    try:
        effect = next(flow)
        while True:
            try:
                outcome = await _perform(effect, context)
            except BaseException as error:  # noqa: BLE001  a flow may handle any error
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        flow.close()


def _perform(effect: Effect, context: Context) -> Awaitable[Any]:
    if isinstance(effect, HttpRequest):
        return context.send(effect, effect.deadline_within(context.deadline))
    return _PERFORM[type(effect)](effect, context)


async def _sleep(effect: Sleep, context: Context) -> None:
    check_time_for(effect, context.deadline)
    await asyncio.sleep(effect.seconds)


async def _blocking(effect: Blocking, context: Context) -> Any:
    check_not_passed(context.deadline)
    if not effect.bounded or context.deadline is NO_DEADLINE:
        return await asyncio.to_thread(effect.function)
    return await _result(in_daemon_thread(effect.function), context.deadline, LOOK_UP)


async def _result(future: Future[Any], deadline: Deadline, problem: str) -> Any:
    """The result of `future`, which goes on when the task that waits for it is cancelled."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nothing waits
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(wake)
    try:
        await asyncio.wait_for(done.wait(), deadline.remaining())
    except asyncio.TimeoutError:
        raise timed_out(deadline, problem) from None
    return future.result()


async def _invoke(effect: Invoke, context: Context) -> Any:
    outcome = (effect.asynchronous or effect.function)()
    if not inspect.isawaitable(outcome):
        return outcome
    if not effect.bounded or context.deadline is NO_DEADLINE:
        return await outcome
    try:
        async with timeout(context.deadline.remaining()):
            return await outcome
    except asyncio.TimeoutError:
        if context.deadline.passed:
            raise timed_out(context.deadline, "a guardrail took too long") from None
        raise  # the function raised it


async def _scope(effect: Scope, context: Context) -> Any:
    send = context.send if effect.sender is None else effect.sender.asend
    return await _drive(effect.flow, Context(send, effect.deadline_within(context.deadline)))


async def _wait(effect: Wait, context: Context) -> Any:
    return await _result(effect.future, context.deadline, IDENTICAL)


async def _gather(gather: Gather, context: Context) -> list[Any]:
    if len(gather.flows) == 1:
        return [await _reported(gather.flows[0], gather, context)]
    results: list[Any] = [None] * len(gather.flows)
    waiting = iter(enumerate(gather.flows))

    async def worker(flows: Iterator[tuple[int, Flow[Any]]]) -> None:
        for index, flow in flows:
            results[index] = await _reported(flow, gather, context)

    tasks = [asyncio.create_task(worker(waiting)) for _ in range(min(gather.limit, len(gather.flows)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return results


async def _reported(flow: Flow[Any], gather: Gather, context: Context) -> Any:
    result = await _drive(flow, context)
    if gather.on_done is not None:
        gather.on_done()
    return result


_PERFORM: dict[type, Callable[..., Awaitable[Any]]] = {
    Sleep: _sleep,
    Blocking: _blocking,
    Invoke: _invoke,
    Gather: _gather,
    Scope: _scope,
    Wait: _wait,
}
