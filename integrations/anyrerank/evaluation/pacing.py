"""When the next call to a provider may start: a limit of calls per minute, and waits after a 429."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
"""Bounds in seconds of a wait whose length the provider does not give; it doubles each time."""
_MAX_WAITED = 300.0
_MAX_WAITED_ON_REQUEST = 3600.0
"""Seconds of waiting without a successful call after which to give up; at most the second one, for a longer wait that
the provider asks for.
"""


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
        self._next_start = self._held_until = self._waited = 0.0
        self._wait = _FIRST_WAIT

    @property
    def waited(self) -> float:
        """Seconds of waits after a 429 since the last successful call."""
        return self._waited

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
            self._waited, self._wait = 0.0, _FIRST_WAIT

    def refused(self, retry_after: float | None) -> bool:
        """Record a 429, and hold back all calls for as long as it asks.

        Args:
            retry_after: Seconds that the provider asked to wait, or `None`.

        Returns:
            Whether to try again: not after the maximum of waiting without a successful call.
        """
        with self._lock:
            now = self._clock()
            wait, max_waited = self._wait, _MAX_WAITED
            if retry_after is not None:
                wait = max(retry_after, _FIRST_WAIT)
                max_waited = min(_MAX_WAITED_ON_REQUEST, max(_MAX_WAITED, 2 * wait))
            elif now < self._held_until:
                return True  # another call of the same moment was refused as well
            extra = now + wait - max(now, self._held_until)
            if extra <= 0:
                return True
            if self._waited + extra > max_waited:
                return False
            self._held_until = now + wait
            self._waited += extra
            self._wait = min(_LONGEST_WAIT, 2 * self._wait)
            return True
