"""The driver of synchronous calls."""

from __future__ import annotations

import contextvars
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, TypeAlias

from anyrerank._core.runtime.effects import DEADLOCK, Call, Do, Effect, Flow, Gather, Sleep, T, Through, Wait
from anyrerank._core.runtime.messages import HttpRequest, HttpResponse
from anyrerank.errors import APITimeoutError

Exchange: TypeAlias = Callable[[HttpRequest], HttpResponse]


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
