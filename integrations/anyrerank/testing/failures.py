"""The queue of failures that a test has set."""

from __future__ import annotations

import threading
from collections import deque
from itertools import repeat
from typing import Generic, TypeVar

T = TypeVar("T")


class Failures(Generic[T]):
    """Failures in the order in which they were added. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[repeat[T]] = deque()

    def add(self, failure: T, times: int | None) -> None:
        """Fail `times` times, after the failures that were added before; `None` for always.

        Raises:
            ValueError: `times` is not a positive integer.
        """
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError(f"times must be a positive integer, or None for always, got {times!r}")
        with self._lock:
            self._waiting.append(repeat(failure) if times is None else repeat(failure, times))

    def next(self) -> T | None:
        """The failure of the next call, or `None` if it should succeed."""
        with self._lock:
            while self._waiting:
                for failure in self._waiting[0]:
                    return failure
                self._waiting.popleft()
        return None

    def clear(self) -> None:
        """Remove all failures."""
        with self._lock:
            self._waiting.clear()
