"""Fixtures of the unit tests: time that only a test moves, and servers behind a router."""

from __future__ import annotations

import pytest
from tests.support.clock import Clock, replace_time
from tests.support.harness import Mode
from tests.support.routing import World, Worlds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The only clock and the only source of random numbers of a test; no wait takes any time."""
    clock = Clock()
    replace_time(monkeypatch, clock)
    return clock


@pytest.fixture
def world(mode: Mode, clock: Clock) -> Worlds:
    """Makes servers and a router in front of them, in each mode."""
    return lambda **answers: World(mode, clock, **answers)


@pytest.fixture
def sync_world(sync_mode: Mode, clock: Clock) -> Worlds:
    """`world`, in the synchronous mode alone."""
    return lambda **answers: World(sync_mode, clock, **answers)
