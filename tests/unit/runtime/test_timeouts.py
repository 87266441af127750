"""Effects for which there is no time left."""

import asyncio
import threading
import time
from concurrent.futures import Future

import pytest
from tests.unit.runtime.flows import (
    LONG,
    PASSED,
    SOON,
    Drive,
    Elsewhere,
    ask,
    awaited,
    content_of,
    echo,
    failing,
    request,
)

from anyrerank._core.runtime import (
    NO_DEADLINE,
    Blocking,
    Deadline,
    Effect,
    Flow,
    Invoke,
    Sleep,
    Wait,
    arun,
    run,
)
from anyrerank.errors import APITimeoutError, RateLimitError


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
