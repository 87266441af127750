"""The progress of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from anyrerank._core.types import public

_INTERVAL = 0.2
_RECENT = 30.0


@public("anyrerank.batch")
@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a job.

    Attributes:
        done: Rows that are done, those of earlier runs included.
        total: All rows, about.
        failed: How many of the rows that are done failed.
        cost: US dollars so far.
        rows_per_second: Rate of the last half minute.
        waiting: Rows that a vendor's batch API has.
        seconds_left: Until the end at this rate, or `None` if there is no rate yet.
    """

    done: int
    total: int
    failed: int
    cost: float
    rows_per_second: float
    waiting: int = 0

    @property
    def seconds_left(self) -> float | None:
        """Until the end at this rate, or `None` if there is no rate yet."""
        return max(0, self.total - self.done) / self.rows_per_second if self.rows_per_second else None


class Meter:
    """Reports progress, at most five times a second.

    Args:
        report: Gets the progress.
        total: All rows, about.
        clock: Seconds that only increase.
    """

    def __init__(
        self, report: Callable[[Progress], object] | None, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._report = report
        self._total = total
        self._clock = clock
        self._next = 0.0
        self._since: tuple[float, int] | None = None

    def show(self, done: int, failed: int, cost: float, *, waiting: int = 0, now: bool = False) -> None:
        """Report, unless the last report was less than 0.2 s ago."""
        if self._report is None:
            return
        time_ = self._clock()
        if self._since is None:
            self._since = time_, done
        if time_ < self._next and not now:
            return
        self._next = time_ + _INTERVAL
        began, at = self._since
        rate = (done - at) / (time_ - began) if time_ > began else 0.0
        if time_ - began > _RECENT:
            self._since = time_, done
        total = max(self._total, done)
        self._report(Progress(done=done, total=total, failed=failed, cost=cost, rows_per_second=rate, waiting=waiting))
