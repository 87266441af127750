import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import Awaitable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import pytest

from anyrerank._core.runtime import (
    NO_DEADLINE,
    Blocking,
    Deadline,
    Effect,
    Flow,
    Gather,
    HttpRequest,
    HttpResponse,
    Invoke,
    Scope,
    Sleep,
    Wait,
    arun,
    run,
)
from anyrerank._core.runtime.effects import AsyncSend, Send
from anyrerank.errors import APIConnectionError, APITimeoutError, RateLimitError

LONG = 60.0
SOON = 10.0
PASSED = Deadline(0.0, 3.0)
"""A deadline of 3 seconds that has passed."""


class Drive(Protocol):
    """Runs a flow with one of the drivers."""

    def __call__(self, flow: Flow[Any], send: Send = ..., deadline: Deadline = ...) -> Any: ...


def request(path: str = "", timeout: float | None = None) -> HttpRequest:
    return HttpRequest(
        method="POST", url=f"https://host.test/{path}?key=secret", headers={}, content=path.encode(), timeout=timeout
    )


def echo(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
    return HttpResponse(status=200, headers={}, content=sent.content)


async def aecho(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
    return echo(sent, deadline)


def refuse(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
    raise APIConnectionError("refused")


def ask(effect: Effect) -> Flow[Any]:
    outcome = yield effect
    return outcome


def content_of(path: str) -> Flow[str]:
    response: HttpResponse = yield request(path)
    return response.content.decode()


def in_run(flow: Flow[Any], send: Send = refuse, deadline: Deadline = NO_DEADLINE) -> Any:
    return run(flow, send, deadline)


def in_arun(flow: Flow[Any], send: Send = refuse, deadline: Deadline = NO_DEADLINE) -> Any:
    async def asend(sent: HttpRequest, limit: Deadline) -> HttpResponse:
        await asyncio.sleep(0)
        return send(sent, limit)

    return asyncio.run(arun(flow, asend, deadline))


@pytest.fixture(params=[in_run, in_arun], ids=["run", "arun"])
def drive(request: pytest.FixtureRequest) -> Drive:
    driver: Drive = request.param
    return driver


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


async def awaited() -> str:
    await asyncio.sleep(0)
    return "awaited"


async def test_invoke_awaits_in_arun_only() -> None:
    assert run(ask(Invoke(lambda: "plain"))) == "plain"
    assert await arun(ask(Invoke(lambda: "plain"))) == "plain"
    assert await arun(ask(Invoke(awaited))) == "awaited"
    assert await arun(ask(Invoke(threading.get_ident))) == threading.get_ident()


async def test_invoke_calls_the_function_for_the_driver() -> None:
    effect = Invoke(lambda: "plain", awaited)
    assert run(ask(effect)) == "plain"
    assert await arun(ask(effect)) == "awaited"


async def test_bounded_invoke_that_takes_too_long_is_cancelled() -> None:
    cancelled: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(APITimeoutError, match="guardrail"):
        await arun(ask(Invoke(hang, bounded=True)), deadline=Deadline.after(0.01))
    assert cancelled == [True]


async def test_bounded_invoke_raises_the_timeout_error_of_the_function() -> None:
    async def impatient() -> None:
        raise asyncio.TimeoutError("its own")

    with pytest.raises(asyncio.TimeoutError, match="its own"):
        await arun(ask(Invoke(impatient, bounded=True)), deadline=Deadline.after(LONG))


async def test_unbounded_invoke_may_pass_the_deadline() -> None:
    assert await arun(ask(Invoke(awaited)), deadline=PASSED) == "awaited"


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


def failing() -> None:
    raise ValueError("from a function")


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


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_gather_keeps_the_order_and_reports_each_flow(drive: Drive, count: int, limit: int) -> None:
    done: list[None] = []
    names = [str(number) for number in range(count)]
    gather = Gather([content_of(name) for name in names], limit, lambda: done.append(None))
    assert drive(ask(gather), echo) == names
    assert len(done) == count


def test_gather_without_flows_returns_an_empty_list(drive: Drive) -> None:
    assert drive(ask(Gather([], limit=4))) == []


def test_run_gathers_as_many_flows_concurrently_as_allowed() -> None:
    # No thread passes the barrier before three have arrived; a fourth would be counted.
    barrier, lock = threading.Barrier(3), threading.Lock()
    active, most = 0, 0

    def send(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        barrier.wait(SOON)
        with lock:
            active -= 1
        barrier.wait(SOON)
        return echo(sent, deadline)

    run(ask(Gather([content_of(str(n)) for n in range(9)], limit=3)), send)
    assert most == 3


async def test_arun_gathers_as_many_flows_concurrently_as_allowed() -> None:
    active, most = 0, 0

    async def send(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        nonlocal active, most
        active += 1
        most = max(most, active)
        for _ in range(10):
            await asyncio.sleep(0)
        active -= 1
        return echo(sent, deadline)

    await arun(ask(Gather([content_of(str(n)) for n in range(9)], limit=3)), send)
    assert most == 3


def test_gathered_flows_see_the_context_of_the_caller(drive: Drive) -> None:
    variable = contextvars.ContextVar("variable", default="default")

    def flow() -> Flow[str]:
        yield request()
        return variable.get()

    token = variable.set("callers")
    try:
        assert drive(ask(Gather([flow(), flow(), flow()], limit=2)), echo) == ["callers"] * 3
    finally:
        variable.reset(token)


def test_gathered_flow_does_not_change_the_context_of_the_caller(drive: Drive) -> None:
    variable = contextvars.ContextVar("variable", default="default")

    def flow() -> Flow[None]:
        variable.set("changed")
        yield request()

    drive(ask(Gather([flow(), flow()], limit=2)), echo)
    assert variable.get() == "default"


def test_run_raises_the_first_error_at_once_and_stops_the_other_flows() -> None:
    waiting, stopped = threading.Event(), threading.Event()

    def slow() -> Flow[None]:
        try:
            waiting.set()
            yield Sleep(LONG)
        finally:
            stopped.set()

    def send(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        waiting.wait(SOON)
        raise APIConnectionError("first")

    began = time.monotonic()
    with pytest.raises(APIConnectionError, match="first"):
        run(ask(Gather([slow(), ask(request())], limit=2)), send)
    assert stopped.wait(SOON)
    assert time.monotonic() - began < SOON


def test_run_stops_nested_gathers() -> None:
    waiting, stopped = threading.Barrier(3), threading.Barrier(3)

    def slow() -> Flow[None]:
        try:
            yield Blocking(lambda: waiting.wait(SOON))
            yield Sleep(3.0)
        finally:
            stopped.wait(SOON)

    def send(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        waiting.wait(SOON)
        raise APIConnectionError("first")

    with pytest.raises(APIConnectionError, match="first"):
        run(ask(Gather([ask(Gather([slow(), slow()], limit=2)), ask(request())], limit=2)), send)
    stopped.wait(1.5)


def test_run_sends_nothing_for_a_stopped_flow() -> None:
    first_is_out, failed, over = threading.Event(), threading.Event(), threading.Event()
    sent: list[str] = []

    def two_requests() -> Flow[None]:
        try:
            yield request("one")
            yield request("two")
        finally:
            over.set()

    def send(outgoing: HttpRequest, deadline: Deadline) -> HttpResponse:
        sent.append(outgoing.content.decode())
        if outgoing.content == b"failing":
            first_is_out.wait(SOON)
            raise APIConnectionError("first")
        first_is_out.set()
        failed.wait(SOON)
        return echo(outgoing, deadline)

    with pytest.raises(APIConnectionError):
        run(ask(Gather([two_requests(), ask(request("failing"))], limit=2)), send)
    failed.set()
    assert over.wait(SOON)
    assert sorted(sent) == ["failing", "one"]


def sent_around_a_failure() -> list[str]:
    failed, blocked_is_out, over = threading.Event(), threading.Event(), threading.Event()
    sent: list[str] = []

    def blocked() -> Flow[None]:
        try:
            yield request("blocked")
        finally:
            over.set()

    def send(outgoing: HttpRequest, deadline: Deadline) -> HttpResponse:
        sent.append(outgoing.content.decode())
        if outgoing.content == b"blocked":
            blocked_is_out.set()
            failed.wait(SOON)
        if outgoing.content == b"failing":
            blocked_is_out.wait(SOON)
            raise APIConnectionError("first")
        return echo(outgoing, deadline)

    flows: list[Flow[Any]] = [blocked(), ask(request("failing")), *(content_of(f"later {n}") for n in range(50))]
    try:
        with pytest.raises(APIConnectionError):
            run(ask(Gather(flows, limit=2)), send)
    finally:
        failed.set()
    assert over.wait(SOON)
    return sent


def test_run_starts_no_flow_after_an_error() -> None:
    # With frequent thread switches, the failing thread could take the next flow before the others notice.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(25):
            assert sorted(sent_around_a_failure()) == ["blocked", "failing"]
    finally:
        sys.setswitchinterval(usual)


async def test_arun_raises_the_first_error_stops_the_other_flows_and_starts_no_more() -> None:
    waiting = asyncio.Event()
    seen: list[str] = []

    def slow() -> Flow[None]:
        try:
            yield Sleep(LONG)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            seen.append("released")

    async def send(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        seen.append(sent.content.decode())
        for _ in range(5):
            await asyncio.sleep(0)
        waiting.set()
        raise APIConnectionError("first")

    flows: list[Flow[Any]] = [slow(), ask(request("failing")), *(content_of(f"later {n}") for n in range(5))]
    with pytest.raises(APIConnectionError, match="first"):
        await arun(ask(Gather(flows, limit=2)), send)
    assert seen == ["failing", "cancelled", "released"]


async def test_cancelled_task_cancels_every_flow() -> None:
    started = asyncio.Event()
    out: list[str] = []
    released: list[str] = []

    def flow(name: str) -> Flow[None]:
        try:
            yield request(name)
        except asyncio.CancelledError:
            released.append(name)
            raise
        finally:
            released.append(f"{name} finally")

    async def never(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        out.append(sent.content.decode())
        if len(out) == 2:
            started.set()
        await asyncio.Event().wait()
        raise AssertionError

    def outer() -> Flow[None]:
        try:
            yield Gather([flow("a"), flow("b")], limit=2)
        finally:
            released.append("outer")

    task = asyncio.create_task(arun(outer(), never))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(released[:-1]) == ["a", "a finally", "b", "b finally"]
    assert released[-1] == "outer"


def test_keyboard_interrupt_is_thrown_into_the_flow() -> None:
    released: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield request()
        finally:
            released.append("lock")

    def interrupted(sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(flow(), interrupted)
    assert released == ["lock"]


class Elsewhere:
    """Another sender; records the deadlines it gets."""

    def __init__(self) -> None:
        self.deadlines: list[Deadline] = []

    def send(self, sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.deadlines.append(deadline)
        return HttpResponse(status=200, headers={}, content=b"elsewhere " + sent.content)

    async def asend(self, sent: HttpRequest, deadline: Deadline) -> HttpResponse:
        return self.send(sent, deadline)


def test_scope_with_a_sender_sends_only_the_inner_requests_there(drive: Drive) -> None:
    def flow() -> Flow[list[str]]:
        before = yield from content_of("before")
        inner = yield Scope(content_of("inner"), sender=Elsewhere())
        after = yield from content_of("after")
        return [before, inner, after]

    assert drive(flow(), echo) == ["before", "elsewhere inner", "after"]


def test_scope_with_a_sender_applies_to_gathered_flows(drive: Drive) -> None:
    gather = ask(Gather([content_of("a"), content_of("b")], limit=2))
    assert drive(ask(Scope(gather, sender=Elsewhere()))) == ["elsewhere a", "elsewhere b"]


def test_error_inside_a_scope_can_be_caught_by_the_flow(drive: Drive) -> None:
    def careful() -> Flow[str]:
        try:
            yield Scope(ask(Blocking(failing)), sender=Elsewhere())
        except ValueError:
            return "caught"
        return "missed"

    assert drive(careful(), echo) == "caught"


@pytest.mark.parametrize(("outer", "inner", "expected"), [(20.0, 10.0, 10.0), (10.0, 20.0, 10.0)])
def test_scope_has_the_earlier_deadline(drive: Drive, outer: float, inner: float, expected: float) -> None:
    sender, start = Elsewhere(), time.monotonic() + LONG
    deadlines = {seconds: Deadline(start + seconds, seconds) for seconds in (outer, inner)}

    def flow() -> Flow[None]:
        yield Scope(content_of("a"), deadlines[inner], sender)
        yield Scope(content_of("b"), sender=sender)

    drive(flow(), deadline=deadlines[outer])
    assert sender.deadlines == [deadlines[expected], deadlines[outer]]


def test_scope_whose_deadline_has_passed_leaves_the_outer_flow_its_time(drive: Drive) -> None:
    def flow() -> Flow[str]:
        try:
            yield Scope(content_of("a"), PASSED)
        except APITimeoutError:
            return (yield from content_of("b"))
        return "missed"

    assert drive(flow(), echo, Deadline.after(LONG)) == "b"


# Deadlines


def test_request_is_sent_with_the_deadline_of_the_flow(drive: Drive) -> None:
    sender = Elsewhere()
    drive(content_of("a"), sender.send)
    drive(content_of("a"), sender.send, deadline := Deadline.after(LONG))
    assert sender.deadlines == [NO_DEADLINE, deadline]


def test_request_with_a_timeout_has_the_earlier_deadline(drive: Drive) -> None:
    sender = Elsewhere()
    for timeout in (LONG, 1.0):
        drive(ask(request(timeout=timeout)), sender.send, Deadline.after(SOON))
    assert [deadline.timeout for deadline in sender.deadlines] == [SOON, 1.0]


@pytest.mark.parametrize(
    "effect",
    [request("path"), Sleep(0.0), Blocking(failing), Blocking(failing, bounded=True), Wait(Future())],
    ids=["request", "sleep", "blocking", "bounded", "wait"],
)
def test_effect_without_time_left_is_a_timeout(drive: Drive, effect: Effect) -> None:
    with pytest.raises(APITimeoutError, match="timed out after 3 s") as caught:
        drive(ask(effect), echo, PASSED)
    assert "secret" not in str(caught.value)


def test_gathered_flows_have_the_deadline(drive: Drive) -> None:
    with pytest.raises(APITimeoutError):
        drive(ask(Gather([content_of("a"), content_of("b")], limit=2)), echo, PASSED)


def test_sleep_past_the_deadline_is_a_timeout_at_once(drive: Drive) -> None:
    began = time.monotonic()
    with pytest.raises(APITimeoutError, match="10 s"):
        drive(ask(Sleep(LONG)), deadline=Deadline.after(SOON))
    assert time.monotonic() - began < SOON


def test_sleep_past_the_deadline_raises_the_given_error(drive: Drive) -> None:
    error = RateLimitError("slow down", retry_after=LONG)
    with pytest.raises(RateLimitError) as caught:
        drive(ask(Sleep(LONG, otherwise=error)), deadline=Deadline.after(SOON))
    assert caught.value is error


def test_sleep_before_the_deadline_does_not_raise_the_given_error(drive: Drive) -> None:
    assert drive(ask(Sleep(0.0, otherwise=RateLimitError("slow down"))), deadline=Deadline.after(SOON)) is None


def test_timeout_can_be_caught_by_the_flow(drive: Drive) -> None:
    def flow() -> Flow[str]:
        try:
            yield Sleep(LONG)
        except APITimeoutError:
            return "caught"
        return "missed"

    assert drive(flow(), deadline=Deadline.after(SOON)) == "caught"


# Waiting for another flow


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


def test_many_threads_can_drive_flows_concurrently() -> None:
    def names(number: int) -> list[str]:
        return [f"{number}-{index}" for index in range(5)]

    def drive_one(number: int) -> list[str]:
        answer: list[str] = run(ask(Gather([content_of(name) for name in names(number)], limit=3)), echo)
        return answer

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(drive_one, range(40))) == [names(number) for number in range(40)]


def test_both_drivers_accept_the_types_that_they_declare() -> None:
    send: Send = echo
    asend: AsyncSend = aecho
    pending: Awaitable[str] = arun(content_of("a"), asend)

    async def finish() -> str:
        return await pending

    assert run(content_of("a"), send) == asyncio.run(finish())


# Bounded functions


def test_bounded_function_is_left_at_the_deadline(drive: Drive) -> None:
    release = threading.Event()
    try:
        with pytest.raises(APITimeoutError, match="took too long"):
            drive(ask(Blocking(lambda: release.wait(20), bounded=True)), deadline=Deadline.after(0.05))
    finally:
        release.set()


def test_event_loop_ends_although_a_bounded_function_goes_on() -> None:
    release = threading.Event()
    others: list[int] = []

    async def main() -> None:
        with pytest.raises(APITimeoutError):
            await arun(ask(Blocking(lambda: release.wait(20), bounded=True)), deadline=Deadline.after(0.05))
        others.append(await asyncio.to_thread(int))

    asyncio.run(main())
    assert others == [0]
    assert not release.is_set()
    release.set()


def test_bounded_function_in_time_returns_its_result_or_raises_its_error(drive: Drive) -> None:
    def look_up() -> Flow[int]:
        with pytest.raises(ValueError, match="from a function"):
            yield Blocking(failing, bounded=True)
        found: int = yield Blocking(lambda: 7, bounded=True)
        return found

    assert drive(look_up(), deadline=Deadline.after(LONG)) == 7


def test_function_that_is_not_bounded_may_pass_the_deadline(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline.after(LONG)

    def work() -> str:
        monkeypatch.setattr(time, "monotonic", lambda: deadline.at + 1)
        return "done"

    with monkeypatch.context():
        assert run(ask(Blocking(work)), deadline=deadline) == "done"
