"""The synchronous driver. It starts no event loop, so it also works inside a running one."""

from __future__ import annotations

import contextvars
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from anyrerank._core.runtime.checks import IDENTICAL, LOOK_UP, check_not_passed, check_time_for, no_sender
from anyrerank._core.runtime.deadline import NO_DEADLINE, Deadline, timed_out
from anyrerank._core.runtime.effects import Blocking, Effect, Flow, Gather, Invoke, Scope, Send, Sleep, T, Wait
from anyrerank._core.runtime.messages import HttpRequest
from anyrerank._core.runtime.threads import in_daemon_thread


class StoppedError(BaseException):
    """Thrown into flows that are still running when a concurrent one has failed."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the effects of a flow are performed with.

    Attributes:
        send: Sends a request and reads the response.
        deadline: When the flow must have finished.
        stop: Set when a concurrent flow has failed, so that the result of this one is not needed.
    """

    send: Send
    deadline: Deadline
    stop: Stop | None = None


def run(flow: Flow[T], send: Send = no_sender, deadline: Deadline = NO_DEADLINE) -> T:
    """Drive `flow` on this thread.

    Args:
        flow: Not started yet.
        send: Sends a request and reads the response.
        deadline: When the flow must have finished.
    """
    return _drive(flow, Context(send, deadline))


def _drive(flow: Flow[T], context: Context) -> T:
    try:
        effect = next(flow)
        while True:
            try:
                outcome = _perform(effect, context)
            except BaseException as error:  # noqa: BLE001  a flow may handle any error
                effect = flow.throw(error)
            else:
                effect = flow.send(outcome)
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        flow.close()


def _perform(effect: Effect, context: Context) -> Any:
    if context.stop is not None and context.stop.is_set():
        raise StoppedError
    if isinstance(effect, HttpRequest):
        return context.send(effect, effect.deadline_within(context.deadline))
    return _PERFORM[type(effect)](effect, context)


def _sleep(effect: Sleep, context: Context) -> None:
    check_time_for(effect, context.deadline)
    (time.sleep if context.stop is None else context.stop.wait)(effect.seconds)


def _blocking(effect: Blocking, context: Context) -> Any:
    check_not_passed(context.deadline)
    if not effect.bounded or context.deadline is NO_DEADLINE:
        return effect.function()
    return _result(in_daemon_thread(effect.function), context.deadline, LOOK_UP)


def _result(future: Future[Any], deadline: Deadline, problem: str) -> Any:
    done, _ = wait([future], timeout=deadline.remaining())
    if not done:
        raise timed_out(deadline, problem)
    return future.result()


def _invoke(effect: Invoke, _: Context) -> Any:
    return effect.function()


def _scope(effect: Scope, context: Context) -> Any:
    send = context.send if effect.sender is None else effect.sender.send
    return _drive(effect.flow, Context(send, effect.deadline_within(context.deadline), context.stop))


def _wait(effect: Wait, context: Context) -> Any:
    return _result(effect.future, context.deadline, IDENTICAL)


def _gather(gather: Gather, context: Context) -> list[Any]:
    if len(gather.flows) <= 1 or gather.limit == 1:
        return [_reported(flow, gather, context) for flow in gather.flows]
    stop = Stop(context.stop)
    inner = Context(context.send, context.deadline, stop)
    failures: list[BaseException] = []

    def one(flow: Flow[Any]) -> Any:
        try:
            return _reported(flow, gather, inner)
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


def _reported(flow: Flow[Any], gather: Gather, context: Context) -> Any:
    result = _drive(flow, context)
    if gather.on_done is not None:
        gather.on_done()
    return result


class Stop(threading.Event):
    """An event that is also set when an outer one is."""

    def __init__(self, outer: Stop | None) -> None:
        super().__init__()
        self._inner: weakref.WeakSet[Stop] = weakref.WeakSet()
        if outer is not None:
            outer._inner.add(self)
            if outer.is_set():
                self.set()

    def set(self) -> None:
        super().set()
        for inner in list(self._inner):
            inner.set()


_PERFORM: dict[type, Callable[..., Any]] = {
    Sleep: _sleep,
    Blocking: _blocking,
    Invoke: _invoke,
    Gather: _gather,
    Scope: _scope,
    Wait: _wait,
}
