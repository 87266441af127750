"""Time that a test moves."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest


class Clock:
    """A clock that stands still until a test, or a wait of a call, moves it.

    Attributes:
        now: What `time.time` and `time.monotonic` return, once `replace_time` has put the clock in their place.
        waits: The seconds of every wait.
        rng: What `random.random` calls then; by default it always returns 0.
    """

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self.waits: list[float] = []
        self.rng: Callable[[], float] = float  # float() is 0.0

    def __call__(self) -> float:
        return self.now

    def random(self) -> float:
        return self.rng()

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def replace_waits(monkeypatch: pytest.MonkeyPatch, wait: Callable[[float], None]) -> None:
    """Call `wait` with the seconds of every wait, none of which takes any time."""
    pause = asyncio.sleep

    async def no_pause(seconds: float, result: object = None) -> object:
        if seconds:
            wait(seconds)
        return await pause(0, result)

    monkeypatch.setattr(time, "sleep", wait)
    monkeypatch.setattr(asyncio, "sleep", no_pause)


def replace_time(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Let the standard library tell the time of `clock`, wait by moving it, and take random numbers from it."""
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(random, "random", clock.random)
    replace_waits(monkeypatch, clock.wait)
