"""When the next call to a provider may start, and when to give up: a limit of calls per minute, waits after a 429."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
"""Bounds in seconds of a wait whose length the provider does not give; it doubles each time."""
_MAX_FAILING = 300.0
_MAX_FAILING_AT_FIRST = 90.0
"""Seconds without a successful call after which to give up; the second one if no call ever succeeded. A minute is over
by then, which is what most rate limits count in.
"""
_MAX_WAITING = 3600.0
_MAX_WAITING_AT_FIRST = 300.0
"""The same where the provider asks for a longer wait."""


class Pacer:
    """Limits the rate of calls to one reranker, for all its threads.

    Args:
        rpm: Maximum number of calls started per minute, or `None`.
        sleep: Waits for a number of seconds.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        rpm: float | None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = 60.0 / rpm if rpm else 0.0
        self._sleep, self._clock = sleep, clock
        self._lock = threading.Lock()
        self._next_start = self._held_until = 0.0
        self._wait = _FIRST_WAIT
        self._failing_since: float | None = None
        self._has_succeeded = False

    @property
    def failing_for(self) -> float:
        """Seconds since the first failed call after the last successful one; 0 if there is none."""
        return 0.0 if self._failing_since is None else self._clock() - self._failing_since

    def wait(self) -> None:
        """Wait until a call may start."""
        with self._lock:
            start = max(self._clock(), self._next_start, self._held_until)
            self._next_start = start + self._interval
        while (seconds := max(start, self._held_until) - self._clock()) > 0:
            if self._sleep(seconds):
                return  # the run was stopped

    def succeeded(self) -> None:
        """Record that a call was answered."""
        with self._lock:
            self._failing_since, self._wait, self._has_succeeded = None, _FIRST_WAIT, True

    def failed(self) -> bool:
        """Record a failed call.

        Returns:
            Whether to go on: not after a long time without a successful call.
        """
        with self._lock:
            return self._may_go_on(self._clock(), self._max_failing)

    def refused(self, retry_after: float | None) -> bool:
        """Record a 429, and hold back all calls for as long as it asks.

        Args:
            retry_after: Seconds that the provider asked to wait, or `None`.

        Returns:
            Whether to try again: not after a long time without a successful call.
        """
        with self._lock:
            now, limit = self._clock(), self._max_failing
            if retry_after is None and now < self._held_until:
                return True  # another call of the same moment was refused as well
            wait = self._wait
            if retry_after is not None:
                wait = max(retry_after, _FIRST_WAIT)
                longest = _MAX_WAITING if self._has_succeeded else _MAX_WAITING_AT_FIRST
                limit = min(longest, max(limit, 2 * wait))
            if not self._may_go_on(now + wait, limit, since=now):
                return False
            if now + wait > self._held_until:
                self._held_until = now + wait
                self._wait = min(_LONGEST_WAIT, 2 * self._wait)
            return True

    @property
    def _max_failing(self) -> float:
        return _MAX_FAILING if self._has_succeeded else _MAX_FAILING_AT_FIRST

    def _may_go_on(self, until: float, limit: float, *, since: float | None = None) -> bool:
        """Whether calls may fail until a point in time; `since` is when this one failed, if that is earlier."""
        if self._failing_since is None:
            self._failing_since = until if since is None else since
        return until - self._failing_since <= limit
