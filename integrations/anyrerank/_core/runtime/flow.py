"""Flows: generators that say what they need done, and the two drivers that do it.

A flow yields an effect and is sent its outcome; an effect that fails is thrown into it. Retries, batches, fallbacks and
providers are flows joined with `yield from`, so each exists once for synchronous and asynchronous callers, and is
tested by sending values into a generator.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from anyrerank._core.runtime.messages import HttpRequest, HttpResponse
from anyrerank._core.runtime.turns import short_turn
from anyrerank.errors import APITimeoutError

if sys.version_info >= (3, 11):
    from asyncio import timeout as timeout  # noqa: PLC0414  the transport has it from here
else:
    from async_timeout import timeout as timeout  # noqa: PLC0414

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait; the outcome is `None`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """Run a blocking function (a model on this machine, a credential look-up); the outcome is what it returns.

    Attributes:
        bounded: Whether the call's deadline is for this too: it is no longer waited for then, though it runs on. For
            what waits itself, such as a look-up, rather than for what computes.
        deadline: A time of the monotonic clock, or `None` for no limit.
    """

    function: Callable[[], Any]
    bounded: bool = False
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Do:
    """Run a function of the driver's colour: what it returns is awaited by `arun` (where it can be), not by `run`.

    For callers that have both colours of something already, such as a framework's callback managers.

    Attributes:
        deadline: Until when it is awaited: a time of the monotonic clock, or `None` for no limit. What is not awaited
            takes what it takes.
    """

    function: Callable[[], Any]
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Gather:
    """Run flows side by side, at most `limit` at a time; the outcome is the list of their results, in order.

    The first failure stops the others and is what the flow gets.
    """

    flows: Sequence[Flow[Any]]
    limit: int
    done: Callable[[], None] | None = None
    """Called as each flow ends well: progress."""


class Sender(Protocol):
    """Sends requests in both colours."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send and read the whole answer."""
        ...

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """The same, on the running event loop."""
        ...


@dataclass(frozen=True, slots=True)
class Through:
    """Run a flow whose requests go through a sender of its own; the outcome is its result."""

    sender: Sender
    flow: Flow[Any]


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for what another flow will give; the outcome is that, or `DEADLOCK` where that could be for ever.

    Attributes:
        future: Its result.
        loop: The event loop that runs the other flow, or `None`. A synchronous call, or one on another loop, may be
            what holds that loop up, itself or by its threads, so it does not wait for one.
        deadline: A time of the monotonic clock, or `None` for no limit.
    """

    future: Future[Any]
    loop: asyncio.AbstractEventLoop | None
    deadline: float | None = None


DEADLOCK = object()
"""The outcome of a `Wait` that might never end."""

Effect: TypeAlias = HttpRequest | Sleep | Call | Do | Gather | Through | Wait
Flow: TypeAlias = Generator[Effect, Any, T]

Exchange: TypeAlias = Callable[[HttpRequest], HttpResponse]
AsyncExchange: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]


class _StoppedError(BaseException):
    """Thrown into the flows that are still running when one beside them has failed."""


def _no_exchange(_: HttpRequest) -> Any:
    raise AssertionError("this flow has nothing to send with")


def run(flow: Flow[T], exchange: Exchange = _no_exchange, stop: threading.Event | None = None) -> T:
    """Drive `flow` on this thread; no event loop is started or needed.

    Args:
        exchange: Sends a request and reads the answer.
        stop: Set from outside when the result is no longer wanted.
    """
    try:
        effect = next(flow)
        while True:
            try:
                outcome = _perform(effect, exchange, stop)
            except BaseException as error:  # noqa: BLE001  a flow may clean up after anything
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        flow.close()


def _perform(effect: Effect, exchange: Exchange, stop: threading.Event | None) -> Any:
    if stop is not None and stop.is_set():
        raise _StoppedError
    if isinstance(effect, HttpRequest):
        return exchange(effect)
    return _PERFORM[type(effect)](effect, exchange, stop)


def _sleep(effect: Sleep, _: Exchange, stop: threading.Event | None) -> Any:
    return (time.sleep if stop is None else stop.wait)(effect.seconds)


def _call(effect: Call, _: Exchange, __: threading.Event | None) -> Any:
    if effect.deadline is None:
        return effect.function()
    return _awaited(_in_daemon(effect.function), effect.deadline, _WORKED_TOO_LONG)


def _do(effect: Do, _: Exchange, __: threading.Event | None) -> Any:
    return effect.function()


def _through(effect: Through, _: Exchange, stop: threading.Event | None) -> Any:
    return run(effect.flow, effect.sender.send, stop)


def _wait(effect: Wait, _: Exchange, __: threading.Event | None) -> Any:
    return DEADLOCK if effect.loop else _awaited(effect.future, effect.deadline)


def _in_daemon(function: Callable[[], Any]) -> Future[Any]:
    """Run `function` in a thread that neither an interpreter nor an event loop waits for when it ends."""
    future: Future[Any] = Future()
    run_here = contextvars.copy_context().run

    def work() -> None:
        try:
            future.set_result(run_here(function))
        except BaseException as error:  # noqa: BLE001  it belongs to whoever waits
            future.set_exception(error)

    threading.Thread(target=work, name="anyrerank", daemon=True).start()
    return future


_WORKED_TOO_LONG = "timed out: what a request needs first (credentials, a guardrail) took longer than the call may"
_GUARDED_TOO_LONG = "timed out: the call's timeout was used up before its query was allowed to be sent"
_EQUAL_CALL_TOOK_TOO_LONG = "timed out while an equal call was under way, whose scores would have served this one too"


def _awaited(future: Future[Any], deadline: float | None, late: str = _EQUAL_CALL_TOOK_TOO_LONG) -> Any:
    done, _ = wait([future], timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
    if not done:
        raise APITimeoutError(late)
    return future.result()


def _gather(gather: Gather, exchange: Exchange, outer: threading.Event | None) -> list[Any]:
    if len(gather.flows) <= 1 or gather.limit == 1:
        return [_counted(run(flow, exchange, outer), gather.done) for flow in gather.flows]
    stop = _Stop(outer)
    failures: list[BaseException] = []

    def one(flow: Flow[Any]) -> Any:
        try:
            return _counted(run(flow, exchange, stop), gather.done)
        except BaseException as error:
            failures.append(error)
            stop.set()
            raise

    pool = ThreadPoolExecutor(min(gather.limit, len(gather.flows)), thread_name_prefix="anyrerank")
    futures = [pool.submit(contextvars.copy_context().run, one, flow) for flow in gather.flows]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
        if failures:
            raise failures[0]
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


_PERFORM: dict[type, Callable[..., Any]] = {
    Sleep: _sleep,
    Call: _call,
    Do: _do,
    Through: _through,
    Wait: _wait,
    Gather: _gather,
}


class _Stop(threading.Event):
    """An event that is also set when an outer one is."""

    def __init__(self, outer: threading.Event | None) -> None:
        super().__init__()
        self._inner: weakref.WeakSet[_Stop] = weakref.WeakSet()
        if isinstance(outer, _Stop):
            outer._inner.add(self)
            if outer.is_set():
                self.set()

    def set(self) -> None:
        super().set()
        for inner in list(self._inner):
            inner.set()


def _counted(result: T, done: Callable[[], None] | None) -> T:
    if done is not None:
        done()
    return result


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
