from __future__ import annotations

import pytest
from tests.support.clock import Clock

from anyrerank._core.runtime import NO_DEADLINE, Deadline


def test_after_none_is_no_deadline() -> None:
    assert Deadline.after(None) is NO_DEADLINE


def test_remaining_counts_down_to_zero(clock: Clock) -> None:
    deadline = Deadline.after(10.0)
    remaining = []
    for clock.now in (1000.0, 1004.0, 1010.0, 1020.0):
        remaining.append(deadline.remaining())
    assert remaining == [10.0, 6.0, 0.0, 0.0]


def test_remaining_without_a_limit_is_none() -> None:
    assert NO_DEADLINE.remaining() is None
    assert not NO_DEADLINE.passed
    assert NO_DEADLINE.allows(1e12)


def test_passed_is_true_from_the_deadline_on(clock: Clock) -> None:
    deadline = Deadline.after(10.0)
    passed = []
    for clock.now in (1009.9, 1010.0, 1010.1):
        passed.append(deadline.passed)
    assert passed == [False, True, True]


@pytest.mark.parametrize(("seconds", "allowed"), [(0.0, True), (9.9, True), (10.0, False), (11.0, False)])
def test_allows_a_wait_that_ends_before_the_deadline(clock: Clock, seconds: float, allowed: bool) -> None:
    assert Deadline.after(10.0).allows(seconds) is allowed


@pytest.mark.parametrize(("n", "at"), [(1, 1010.0), (2, 1007.0), (4, 1005.5), (1.5, 1008.0)])
def test_share_is_a_part_of_the_remaining_time(clock: Clock, n: float, at: float) -> None:
    deadline = Deadline.after(10.0)
    clock.now = 1004.0
    assert deadline.share(n).at == at


def test_share_reports_its_own_length_in_errors(clock: Clock) -> None:
    assert Deadline.after(10.0).share(4).timeout == 2.5


def test_share_of_no_limit_is_no_limit() -> None:
    assert NO_DEADLINE.share(3) is NO_DEADLINE


def test_share_after_the_deadline_has_passed(clock: Clock) -> None:
    deadline = Deadline.after(10.0)
    clock.now = 1020.0
    assert deadline.share(2).passed


def test_earliest_returns_the_earlier_one_and_prefers_itself() -> None:
    early, late = Deadline(1.0, 1.0), Deadline(2.0, 2.0)
    assert early.earliest(late) is late.earliest(early) is early
    same = Deadline(1.0, 9.0)
    assert early.earliest(same) is early
    assert early.earliest(NO_DEADLINE) is NO_DEADLINE.earliest(early) is early
