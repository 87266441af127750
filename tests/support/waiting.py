"""Waiting for something that another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.support.loopback import MAX_WAIT


def eventually(holds: Callable[[], object], within: float = MAX_WAIT) -> bool:
    """Whether a condition holds in the end."""
    deadline = time.perf_counter() + within
    while not holds():
        if time.perf_counter() > deadline:
            return False
        time.sleep(0.005)
    return True


def took(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
