"""Flows that run concurrently, and those that an error or a cancellation stops."""

import asyncio
import contextvars
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.unit.runtime.flows import LONG, PASSED, SOON, Drive, ask, content_of, echo, request

from anyrerank._core.runtime import (
    Blocking,
    Deadline,
    Flow,
    Gather,
    HttpRequest,
    HttpResponse,
    Sleep,
    arun,
    run,
)
from anyrerank.errors import APIConnectionError, APITimeoutError


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


def test_gathered_flows_have_the_deadline(drive: Drive) -> None:
    with pytest.raises(APITimeoutError):
        drive(ask(Gather([content_of("a"), content_of("b")], limit=2)), echo, PASSED)


def test_many_threads_can_drive_flows_concurrently() -> None:
    def names(number: int) -> list[str]:
        return [f"{number}-{index}" for index in range(5)]

    def drive_one(number: int) -> list[str]:
        answer: list[str] = run(ask(Gather([content_of(name) for name in names(number)], limit=3)), echo)
        return answer

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(drive_one, range(40))) == [names(number) for number in range(40)]
