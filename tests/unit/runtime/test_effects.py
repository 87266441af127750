"""Each effect, in both drivers."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Iterator
from concurrent.futures import Future

import pytest
from tests.unit.runtime.flows import SOON, Drive, ask, awaited, content_of, echo, failing, refuse, request

from anyrerank._core.runtime import (
    Blocking,
    Deadline,
    Effect,
    Flow,
    Gather,
    HttpRequest,
    HttpResponse,
    Invoke,
    Sleep,
    Wait,
    arun,
    run,
)
from anyrerank._core.runtime.effects import AsyncSend, Send
from anyrerank.errors import APIConnectionError


async def aecho(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
    return echo(sent, deadline)


def test_request_is_sent_and_its_response_returned_to_the_flow(drive: Drive) -> None:
    assert drive(content_of("a"), echo) == "a"


def test_flow_without_effects_returns_its_result(drive: Drive) -> None:
    def flow(needed: bool) -> Flow[str]:
        if needed:
            yield request()
        return "nothing needed"

    assert drive(flow(needed=False)) == "nothing needed"


def test_yield_from_joins_flows(drive: Drive) -> None:
    def both() -> Flow[str]:
        first = yield from content_of("a")
        second = yield from content_of("b")
        return first + second

    assert drive(both(), echo) == "ab"


def test_blocking_function_is_run_and_its_result_returned_to_the_flow(drive: Drive) -> None:
    assert drive(ask(Blocking(lambda: 42))) == 42


def test_run_calls_a_blocking_function_on_the_thread_of_the_caller() -> None:
    assert run(ask(Blocking(threading.get_ident)), echo) == threading.get_ident()


async def test_arun_calls_a_blocking_function_in_a_thread_with_the_same_context() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("callers")
    thread, value = await arun(ask(Blocking(lambda: (threading.get_ident(), variable.get()))), aecho)
    assert thread != threading.get_ident()
    assert value == "callers"


async def test_invoke_awaits_in_arun_only() -> None:
    assert run(ask(Invoke(lambda: "plain"))) == "plain"
    assert await arun(ask(Invoke(lambda: "plain"))) == "plain"
    assert await arun(ask(Invoke(awaited))) == "awaited"
    assert await arun(ask(Invoke(threading.get_ident))) == threading.get_ident()


async def test_invoke_calls_the_function_for_the_driver() -> None:
    effect = Invoke(lambda: "plain", awaited)
    assert run(ask(effect)) == "plain"
    assert await arun(ask(effect)) == "awaited"


def test_run_sleeps_for_the_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert run(ask(Sleep(1.5)), echo) is None
    assert slept == [1.5]


async def test_arun_sleeps_for_the_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert await arun(ask(Sleep(1.5)), aecho) is None
    assert slept == [1.5]


@pytest.mark.parametrize(
    ("effect", "error"),
    [
        (request(), APIConnectionError),
        (Blocking(failing), ValueError),
        (Invoke(failing), ValueError),
        (Gather([ask(request()), ask(request())], limit=2), APIConnectionError),
    ],
    ids=["request", "blocking", "invoke", "gather"],
)
def test_error_of_an_effect_can_be_caught_by_the_flow(drive: Drive, effect: Effect, error: type[Exception]) -> None:
    # A generator runs once, but both drivers get the same parameter.
    fresh = Gather([ask(request()), ask(request())], limit=2) if isinstance(effect, Gather) else effect

    def careful() -> Flow[str]:
        try:
            yield fresh
        except error:
            return "caught"
        return "missed"

    assert drive(careful()) == "caught"


def test_error_that_is_not_caught_is_raised_after_finally(drive: Drive) -> None:
    released: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield request()
        finally:
            released.append("lock")

    with pytest.raises(APIConnectionError, match="refused"):
        drive(flow())
    assert released == ["lock"]


def test_flow_continues_after_an_error_that_it_caught(drive: Drive) -> None:
    answers: Iterator[Send] = iter([refuse, echo])

    def send(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        return next(answers)(sent, deadline)

    def again() -> Flow[str]:
        try:
            return (yield from content_of("first"))
        except APIConnectionError:
            return (yield from content_of("second"))

    assert drive(again(), send) == "second"


def test_wait_returns_the_result_of_the_future(drive: Drive) -> None:
    future: Future[str] = Future()
    threading.Timer(0.01, future.set_result, ["done"]).start()
    assert drive(ask(Wait(future)), deadline=Deadline.after(SOON)) == "done"


def test_wait_raises_the_error_of_the_future(drive: Drive) -> None:
    future: Future[str] = Future()
    future.set_exception(APIConnectionError("reset"))
    with pytest.raises(APIConnectionError):
        drive(ask(Wait(future)))


async def test_wait_that_is_cancelled_does_not_cancel_the_future() -> None:
    future: Future[str] = Future()
    task = asyncio.create_task(arun(ask(Wait(future))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not future.cancelled()


async def test_run_works_inside_a_running_loop_and_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object) -> None:
        raise AssertionError("an event loop was asked for")

    for name in ("new_event_loop", "get_event_loop", "run", "run_coroutine_threadsafe"):
        monkeypatch.setattr(asyncio, name, forbidden)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def everything() -> Flow[list[str]]:
        yield Sleep(0.0)
        yield Blocking(lambda: None)
        both = yield Gather([content_of("a"), content_of("b")], limit=2)
        assert isinstance(both, list)
        return both

    assert run(everything(), echo) == ["a", "b"]


def test_both_drivers_accept_the_types_that_they_declare() -> None:
    send: Send = echo
    asend: AsyncSend = aecho
    pending: Awaitable[str] = arun(content_of("a"), asend)

    async def finish() -> str:
        return await pending

    assert run(content_of("a"), send) == asyncio.run(finish())
