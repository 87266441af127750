"""Waiting between calls: a limit per minute, and what a 429 asks for. No test waits."""

from __future__ import annotations

import pytest

from anyrerank.evaluation.pacing import Pacer


class Time:
    """A clock that moves when it is slept on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def paced(time: Time, rpm: float | None = None) -> Pacer:
    return Pacer(rpm, time.sleep, time.clock)


def test_wait_with_rpm_spaces_the_calls(time: Time) -> None:
    pacer, starts = paced(time, rpm=20), []
    for _ in range(4):
        pacer.wait()
        starts.append(time.now)
    assert starts == pytest.approx([1000, 1003, 1006, 1009])


def test_wait_without_rpm_does_not_wait(time: Time) -> None:
    pacer = paced(time)
    pacer.wait()
    pacer.wait()
    assert time.now == 1000


@pytest.mark.parametrize("seconds", [2.0, 90.0, 1800.0])
def test_wait_after_a_refusal_lasts_as_long_as_asked(time: Time, seconds: float) -> None:
    pacer = paced(time)
    pacer.succeeded()
    assert pacer.refused(seconds)
    pacer.wait()
    assert time.now == 1000 + seconds


def test_wait_after_refusals_without_a_time_doubles(time: Time) -> None:
    pacer, waits = paced(time), []
    pacer.succeeded()
    for _ in range(8):
        before = time.now
        assert pacer.refused(None)
        pacer.wait()
        waits.append(time.now - before)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_refused_several_times_at_once_waits_once(time: Time) -> None:
    pacer = paced(time)
    assert all(pacer.refused(None) for _ in range(8))
    pacer.wait()
    assert time.now == 1001


@pytest.mark.parametrize(
    ("retry_after", "succeeded", "limit"),
    [
        (None, False, 90),
        (0.0, False, 90),
        (1.0, False, 90),
        (60.0, False, 120),
        (1000.0, False, 0),
        (None, True, 300),
        (1.0, True, 300),
        (60.0, True, 300),
        (1000.0, True, 2000),
        (2000.0, True, 2000),
        (86400.0, True, 0),
    ],
)
def test_refused_for_a_long_time_gives_up(time: Time, retry_after: float | None, succeeded: bool, limit: float) -> None:
    pacer = paced(time)
    if succeeded:
        pacer.succeeded()
    while pacer.refused(retry_after):
        pacer.wait()
    assert limit * 0.65 <= time.now - 1000 <= limit
    assert pacer.failing_for == time.now - 1000


def test_refused_by_calls_that_take_long_counts_their_time(time: Time) -> None:
    pacer, calls = paced(time), 0
    while pacer.refused(1.0):
        pacer.wait()
        time.now += 9.0  # the call, with its own retries
        calls += 1
    assert calls == 9


@pytest.mark.parametrize(("succeeded", "limit"), [(False, 90), (True, 300)])
def test_failed_for_a_long_time_gives_up(time: Time, succeeded: bool, limit: float) -> None:
    pacer = paced(time)
    if succeeded:
        pacer.succeeded()
    while pacer.failed():
        time.now += 10.0
    assert time.now == 1000 + limit + 10


def test_succeeded_starts_the_time_again(time: Time) -> None:
    pacer = paced(time)
    for _ in range(100):
        assert pacer.refused(60.0)
        pacer.wait()
        assert pacer.failed()
        pacer.succeeded()
        assert pacer.failing_for == 0
