import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from anyrerank._core.runtime import Call, Do, Effect, Flow, Gather, HttpRequest, HttpResponse, Sleep, Through, arun, run
from anyrerank._core.runtime.async_driver import AsyncExchange
from anyrerank._core.runtime.sync_driver import Exchange
from anyrerank.errors import APIConnectionError, APITimeoutError

Drive = Callable[[Flow[Any], Exchange], Any]
LONG = 60.0
SOON = 10.0


def request(path: str = "") -> HttpRequest:
    return HttpRequest(method="POST", url=f"https://host.test/{path}", headers={}, content=path.encode())


def echo(sent: HttpRequest) -> HttpResponse:
    return HttpResponse(status=200, headers={}, content=sent.content)


async def aecho(sent: HttpRequest) -> HttpResponse:
    return echo(sent)


def refuse(sent: HttpRequest) -> HttpResponse:
    raise APIConnectionError("refused")


def ask(effect: Effect) -> Flow[Any]:
    outcome = yield effect
    return outcome


def content_of(path: str) -> Flow[str]:
    response: HttpResponse = yield request(path)
    return response.content.decode()


def in_run(flow: Flow[Any], exchange: Exchange) -> Any:
    return run(flow, exchange)


def in_arun(flow: Flow[Any], exchange: Exchange) -> Any:
    async def asynchronous(sent: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        return exchange(sent)

    return asyncio.run(arun(flow, asynchronous))


@pytest.fixture(params=[in_run, in_arun], ids=["run", "arun"])
def drive(request: pytest.FixtureRequest) -> Drive:
    driver: Drive = request.param
    return driver


def test_a_request_is_exchanged_and_its_answer_sent_back(drive: Drive) -> None:
    assert drive(content_of("a"), echo) == "a"


def test_a_flow_without_effects_returns_its_result(drive: Drive) -> None:
    def flow(needed: bool) -> Flow[str]:
        if needed:
            yield request()
        return "nothing needed"

    assert drive(flow(needed=False), refuse) == "nothing needed"


def test_flows_are_joined_with_yield_from(drive: Drive) -> None:
    def both() -> Flow[str]:
        first = yield from content_of("a")
        second = yield from content_of("b")
        return first + second

    assert drive(both(), echo) == "ab"


def test_a_call_is_made_and_its_result_sent_back(drive: Drive) -> None:
    assert drive(ask(Call(lambda: 42)), refuse) == 42


def test_run_makes_calls_on_the_callers_thread() -> None:
    assert run(ask(Call(threading.get_ident)), echo) == threading.get_ident()


async def test_arun_makes_calls_off_the_event_loop_in_the_same_context() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("callers")
    thread, value = await arun(ask(Call(lambda: (threading.get_ident(), variable.get()))), aecho)
    assert thread != threading.get_ident()
    assert value == "callers"


async def test_do_runs_in_the_mode_of_the_driver() -> None:
    async def coloured() -> str:
        await asyncio.sleep(0)
        return "awaited"

    assert run(ask(Do(lambda: "plain"))) == "plain"
    assert await arun(ask(Do(lambda: "plain"))) == "plain"
    assert await arun(ask(Do(coloured))) == "awaited"
    assert await arun(ask(Do(threading.get_ident))) == threading.get_ident()


def test_run_sleeps_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert run(ask(Sleep(1.5)), echo) is None
    assert slept == [1.5]


async def test_arun_sleeps_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert await arun(ask(Sleep(1.5)), aecho) is None
    assert slept == [1.5]


def failing() -> None:
    raise ValueError("from a call")


@pytest.mark.parametrize(
    ("effect", "error"),
    [
        (request(), APIConnectionError),
        (Call(failing), ValueError),
        (Do(failing), ValueError),
        (Gather([ask(request()), ask(request())], limit=2), APIConnectionError),
    ],
    ids=["request", "call", "do", "gather"],
)
def test_a_failure_is_thrown_into_the_flow_which_may_catch_it(
    drive: Drive, effect: Effect, error: type[Exception]
) -> None:
    # A generator runs once, and the parameter is shared by both drivers.
    fresh = Gather([ask(request()), ask(request())], limit=2) if isinstance(effect, Gather) else effect

    def careful() -> Flow[str]:
        try:
            yield fresh
        except error:
            return "caught"
        return "missed"

    assert drive(careful(), refuse) == "caught"


def test_a_failure_that_is_not_caught_is_raised_after_finally(drive: Drive) -> None:
    released: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield request()
        finally:
            released.append("lock")

    with pytest.raises(APIConnectionError, match="refused"):
        drive(flow(), refuse)
    assert released == ["lock"]


def test_a_flow_may_go_on_after_a_failure(drive: Drive) -> None:
    answers: Iterator[Exchange] = iter([refuse, echo])

    def exchange(sent: HttpRequest) -> HttpResponse:
        return next(answers)(sent)

    def again() -> Flow[str]:
        try:
            return (yield from content_of("first"))
        except APIConnectionError:
            return (yield from content_of("second"))

    assert drive(again(), exchange) == "second"


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_gather_keeps_the_order_and_reports_each_flow(drive: Drive, count: int, limit: int) -> None:
    done: list[None] = []
    names = [str(number) for number in range(count)]
    gather = Gather([content_of(name) for name in names], limit, lambda: done.append(None))
    assert drive(ask(gather), echo) == names
    assert len(done) == count


def test_gathering_nothing_gives_nothing(drive: Drive) -> None:
    assert drive(ask(Gather([], limit=4)), refuse) == []


def test_run_gathers_exactly_as_many_at_once_as_allowed() -> None:
    # Nobody passes the barrier before three are there; a fourth would be counted.
    barrier, lock = threading.Barrier(3), threading.Lock()
    active, most = 0, 0

    def exchange(sent: HttpRequest) -> HttpResponse:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        barrier.wait(SOON)
        with lock:
            active -= 1
        barrier.wait(SOON)
        return echo(sent)

    run(ask(Gather([content_of(str(n)) for n in range(9)], limit=3)), exchange)
    assert most == 3


async def test_arun_gathers_exactly_as_many_at_once_as_allowed() -> None:
    active, most = 0, 0

    async def exchange(sent: HttpRequest) -> HttpResponse:
        nonlocal active, most
        active += 1
        most = max(most, active)
        for _ in range(10):
            await asyncio.sleep(0)
        active -= 1
        return echo(sent)

    await arun(ask(Gather([content_of(str(n)) for n in range(9)], limit=3)), exchange)
    assert most == 3


def test_gathered_flows_see_the_callers_context(drive: Drive) -> None:
    variable = contextvars.ContextVar("variable", default="default")

    def flow() -> Flow[str]:
        yield request()
        return variable.get()

    token = variable.set("callers")
    try:
        assert drive(ask(Gather([flow(), flow(), flow()], limit=2)), echo) == ["callers"] * 3
    finally:
        variable.reset(token)


def test_a_gathered_flow_does_not_change_the_callers_context(drive: Drive) -> None:
    variable = contextvars.ContextVar("variable", default="default")

    def flow() -> Flow[None]:
        variable.set("changed")
        yield request()

    drive(ask(Gather([flow(), flow()], limit=2)), echo)
    assert variable.get() == "default"


def test_run_raises_the_first_failure_at_once_and_stops_the_others() -> None:
    waiting, stopped = threading.Event(), threading.Event()

    def slow() -> Flow[None]:
        try:
            waiting.set()
            yield Sleep(LONG)
        finally:
            stopped.set()

    def exchange(sent: HttpRequest) -> HttpResponse:
        waiting.wait(SOON)
        raise APIConnectionError("first")

    began = time.monotonic()
    with pytest.raises(APIConnectionError, match="first"):
        run(ask(Gather([slow(), ask(request())], limit=2)), exchange)
    assert stopped.wait(SOON)
    assert time.monotonic() - began < SOON


def test_run_stops_gathers_inside_a_gather_too() -> None:
    waiting, stopped = threading.Barrier(3), threading.Barrier(3)

    def slow() -> Flow[None]:
        try:
            yield Call(lambda: waiting.wait(SOON))
            yield Sleep(3.0)
        finally:
            stopped.wait(SOON)

    def exchange(sent: HttpRequest) -> HttpResponse:
        waiting.wait(SOON)
        raise APIConnectionError("first")

    with pytest.raises(APIConnectionError, match="first"):
        run(ask(Gather([ask(Gather([slow(), slow()], limit=2)), ask(request())], limit=2)), exchange)
    stopped.wait(1.5)


def test_run_sends_nothing_more_for_a_stopped_flow() -> None:
    first_is_out, failed, over = threading.Event(), threading.Event(), threading.Event()
    sent: list[str] = []

    def two_requests() -> Flow[None]:
        try:
            yield request("one")
            yield request("two")
        finally:
            over.set()

    def exchange(outgoing: HttpRequest) -> HttpResponse:
        sent.append(outgoing.content.decode())
        if outgoing.content == b"failing":
            first_is_out.wait(SOON)
            raise APIConnectionError("first")
        first_is_out.set()
        failed.wait(SOON)
        return echo(outgoing)

    with pytest.raises(APIConnectionError):
        run(ask(Gather([two_requests(), ask(request("failing"))], limit=2)), exchange)
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

    def exchange(outgoing: HttpRequest) -> HttpResponse:
        sent.append(outgoing.content.decode())
        if outgoing.content == b"blocked":
            blocked_is_out.set()
            failed.wait(SOON)
        if outgoing.content == b"failing":
            blocked_is_out.wait(SOON)
            raise APIConnectionError("first")
        return echo(outgoing)

    flows: list[Flow[Any]] = [blocked(), ask(request("failing")), *(content_of(f"later {n}") for n in range(50))]
    try:
        with pytest.raises(APIConnectionError):
            run(ask(Gather(flows, limit=2)), exchange)
    finally:
        failed.set()
    assert over.wait(SOON)
    return sent


def test_run_starts_no_waiting_flow_after_a_failure() -> None:
    # Threads that take turns often, again and again: the failing one may take up the next flow before others notice.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(25):
            assert sorted(sent_around_a_failure()) == ["blocked", "failing"]
    finally:
        sys.setswitchinterval(usual)


async def test_arun_raises_the_first_failure_stops_the_others_and_starts_no_more() -> None:
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

    async def exchange(sent: HttpRequest) -> HttpResponse:
        seen.append(sent.content.decode())
        for _ in range(5):
            await asyncio.sleep(0)
        waiting.set()
        raise APIConnectionError("first")

    flows: list[Flow[Any]] = [slow(), ask(request("failing")), *(content_of(f"later {n}") for n in range(5))]
    with pytest.raises(APIConnectionError, match="first"):
        await arun(ask(Gather(flows, limit=2)), exchange)
    assert seen == ["failing", "cancelled", "released"]


async def test_cancelling_the_task_is_thrown_into_every_flow() -> None:
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

    async def never(sent: HttpRequest) -> HttpResponse:
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


def test_an_interrupt_is_thrown_into_the_flow() -> None:
    released: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield request()
        finally:
            released.append("lock")

    def interrupted(sent: HttpRequest) -> HttpResponse:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(flow(), interrupted)
    assert released == ["lock"]


class Elsewhere:
    def send(self, sent: HttpRequest) -> HttpResponse:
        return HttpResponse(status=200, headers={}, content=b"elsewhere " + sent.content)

    async def asend(self, sent: HttpRequest) -> HttpResponse:
        return self.send(sent)


def test_through_sends_the_inner_requests_alone_elsewhere(drive: Drive) -> None:
    def flow() -> Flow[list[str]]:
        before = yield from content_of("before")
        inner = yield Through(Elsewhere(), content_of("inner"))
        after = yield from content_of("after")
        return [before, inner, after]

    assert drive(flow(), echo) == ["before", "elsewhere inner", "after"]


def test_through_reaches_gathered_flows(drive: Drive) -> None:
    gather = ask(Gather([content_of("a"), content_of("b")], limit=2))
    assert drive(ask(Through(Elsewhere(), gather)), refuse) == ["elsewhere a", "elsewhere b"]


def test_a_failure_inside_through_is_thrown_into_the_flow(drive: Drive) -> None:
    def careful() -> Flow[str]:
        try:
            yield Through(Elsewhere(), ask(Call(failing)))
        except ValueError:
            return "caught"
        return "missed"

    assert drive(careful(), echo) == "caught"


async def test_run_works_inside_a_running_loop_and_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object) -> None:
        raise AssertionError("an event loop was asked for")

    for name in ("new_event_loop", "get_event_loop", "run", "run_coroutine_threadsafe"):
        monkeypatch.setattr(asyncio, name, forbidden)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def everything() -> Flow[list[str]]:
        yield Sleep(0.0)
        yield Call(lambda: None)
        both = yield Gather([content_of("a"), content_of("b")], limit=2)
        assert isinstance(both, list)
        return both

    assert run(everything(), echo) == ["a", "b"]


def test_many_threads_may_drive_flows_at_once() -> None:
    def names(number: int) -> list[str]:
        return [f"{number}-{place}" for place in range(5)]

    def drive_one(number: int) -> list[str]:
        answer: list[str] = run(ask(Gather([content_of(name) for name in names(number)], limit=3)), echo)
        return answer

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(drive_one, range(40))) == [names(number) for number in range(40)]


def test_both_drivers_take_what_their_types_say() -> None:
    exchange: Exchange = echo
    asynchronous: AsyncExchange = aecho
    pending: Awaitable[str] = arun(content_of("a"), asynchronous)

    async def finish() -> str:
        return await pending

    assert run(content_of("a"), exchange) == asyncio.run(finish())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_bounded_call_is_waited_for_until_the_deadline(asynchronous: bool) -> None:
    release = threading.Event()

    def look_up() -> Flow[str]:
        found: str = yield Call(lambda: str(release.wait(20)), bounded=True, deadline=time.monotonic() + 0.05)
        return found

    try:
        with pytest.raises(APITimeoutError, match="took longer than the call may"):
            asyncio.run(arun(look_up())) if asynchronous else run(look_up())
    finally:
        release.set()


def test_a_loop_ends_without_a_look_up_that_goes_on() -> None:
    release = threading.Event()
    others: list[int] = []

    def look_up() -> Flow[None]:
        yield Call(lambda: release.wait(20), bounded=True, deadline=time.monotonic() + 0.05)

    async def main() -> None:
        with pytest.raises(APITimeoutError):
            await arun(look_up())
        others.append(await asyncio.to_thread(int))

    asyncio.run(main())
    assert others == [0]
    assert not release.is_set()
    release.set()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_bounded_call_in_time_gives_what_it_finds(asynchronous: bool) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    def look_up() -> Flow[int]:
        deadline = time.monotonic() + 60
        with pytest.raises(ZeroDivisionError):
            yield Call(fail, bounded=True, deadline=deadline)
        found: int = yield Call(lambda: 7, bounded=True, deadline=deadline)
        return found

    assert (asyncio.run(arun(look_up())) if asynchronous else run(look_up())) == 7
