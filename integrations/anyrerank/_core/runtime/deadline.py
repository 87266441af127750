"""Deadlines: when a call, or a part of it, must have finished."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from anyrerank.errors import APITimeoutError


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time on this process's monotonic clock.

    Attributes:
        at: A value of `time.monotonic()`; infinity for no limit.
        timeout: Seconds from the start to the deadline, for error messages.
    """

    at: float
    timeout: float

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """The deadline `seconds` from now; `None` for no limit."""
        return NO_DEADLINE if seconds is None else cls(time.monotonic() + seconds, seconds)

    def remaining(self) -> float | None:
        """Seconds left, at least 0; `None` for no limit."""
        return None if self.at == math.inf else max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.at

    def allows(self, seconds: float) -> bool:
        """Whether a wait of `seconds` ends before the deadline."""
        return time.monotonic() + seconds < self.at

    def share(self, n: float) -> Deadline:
        """The end of the first of `n` equal parts of the remaining time."""
        left = self.remaining()
        return self if left is None or n == 1 else Deadline.after(left / n)

    def later(self, seconds: float) -> Deadline:
        """The deadline, moved back by a number of seconds."""
        return replace(self, at=self.at + seconds)

    def earliest(self, other: Deadline) -> Deadline:
        """The earlier of the two."""
        return other if other.at < self.at else self


NO_DEADLINE = Deadline(math.inf, math.inf)
"""No limit."""


def timed_out(deadline: Deadline, problem: str, url: str | None = None) -> APITimeoutError:
    """The error for something that did not finish before `deadline`."""
    return APITimeoutError(f"timed out after {deadline.timeout:g} s: {problem}", url=url)
