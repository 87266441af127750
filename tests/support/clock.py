"""Time that a test moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest


class Clock:
    """A clock that stands still until a test, or a wait of a call, moves it."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

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
