"""The usage of the last minute, and when limits leave room for more."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from anyrerank._core.routing.load import Load, Terms, available_at
from anyrerank._core.routing.window import Need, Window

calls_of = st.lists(
    st.tuples(st.floats(0.0, 1.0) | st.floats(0.0, 40.0), st.integers(1, 4), st.integers(0, 50)),
    min_size=1,
    max_size=60,
)
"""Seconds since the call before, and the requests and tokens of each call."""

unhurried = settings(deadline=None)


def room_at(window: Window, need: Need, now: float, **limits: int) -> float:
    window.forget(now)
    load = Load(requests=window.requests, tokens=window.tokens, slots=window.slots)
    return available_at(Terms(**limits), load, need, now)


@unhurried
@given(calls_of, st.integers(1, 10), st.integers(1, 200))
def test_no_minute_holds_more_than_the_limits(calls: list[tuple[float, int, int]], rpm: int, tpm: int) -> None:
    window, now = Window(), 0.0
    taken: list[tuple[float, Need]] = []
    for pause, requests, tokens in calls:
        need = Need(requests, tokens)
        now = max(now + pause, room_at(window, need, now + pause, rpm=rpm, tpm=tpm))
        assert room_at(window, need, now, rpm=rpm, tpm=tpm) == now
        window.add(now, need)
        taken.append((now, need))
    for end, _ in taken:
        minute = [each for when, each in taken if when <= end < when + 60.0]
        assert sum(each.requests for each in minute) <= max(rpm, *(each.requests for each in minute))
        assert sum(each.tokens for each in minute) <= max(tpm, *(each.tokens for each in minute))


@unhurried
@given(calls_of)
def test_a_window_counts_everything_and_forgets_it_after_a_minute(calls: list[tuple[float, int, int]]) -> None:
    window, now = Window(), 0.0
    for pause, requests, tokens in calls:
        now += pause
        slot = window.add(now, Need(requests, tokens))
        window.change(slot, 2, -tokens)
        assert (window.requests, window.tokens) >= (requests + 2, 0)
        assert window.requests == sum(each.requests for each in window.slots)
        assert window.tokens == sum(each.tokens for each in window.slots)
    window.forget(now + 60.0)
    assert (window.requests, window.tokens, window.slots) == (0, 0, ())


def test_room_comes_back_second_by_second() -> None:
    window = Window()
    for now in (0.0, 0.9, 5.0, 10.0):
        window.add(now, Need(1))
    found = [room_at(window, Need(requests), 11.0, rpm=4) for requests in (1, 2, 3, 4)]
    assert found == [60.9, 60.9, 65.0, 70.0]


def test_a_slot_counts_until_its_last_use_is_a_minute_old() -> None:
    window = Window()
    for now in (0.0, 0.9):
        window.add(now, Need(1))
    window.forget(60.5)
    assert window.requests == 2
    window.forget(60.9)
    assert window.requests == 0


def test_a_correction_after_a_minute_changes_nothing() -> None:
    window = Window()
    slot = window.add(0.0, Need(1, 30))
    window.forget(60.0)
    window.change(slot, 5, 5)
    assert (window.requests, window.tokens) == (0, 0)
    window.add(61.0, Need(1, 1))
    window.change(slot, 5, 5)
    assert (window.requests, window.tokens) == (1, 1)


def test_a_window_stays_small_at_a_high_rate() -> None:
    window = Window()
    for number in range(60_000):
        window.add(number / 1000, Need(1, 1))
    assert window.requests == 60_000
    assert len(window.slots) <= 61


def test_a_need_above_a_limit_waits_for_an_empty_minute() -> None:
    window = Window()
    assert room_at(window, Need(50), 0.0, rpm=10) == 0.0
    window.add(0.0, Need(1))
    window.add(30.0, Need(1))
    assert room_at(window, Need(50), 31.0, rpm=10) == 90.0
    assert room_at(window, Need(9), 31.0, rpm=10) == 60.0
    assert room_at(window, Need(8), 31.0, rpm=10) == 31.0
