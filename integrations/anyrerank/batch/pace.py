"""When the next row may be sent: the limit of rows in flight, and waits after a refusal."""

from __future__ import annotations

import asyncio
import time
from collections import deque

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
"""Bounds in seconds of a wait whose length the server does not give; it doubles each time."""


class Stopped(Exception):  # noqa: N818  not an error
    """The run stops: nothing more is sent."""


class Pace:
    """Shared by all rows of a run, on one event loop.

    After a refusal no row is sent for a while, and the limit of rows in flight is halved; each answer raises it again.

    Args:
        in_flight: Maximum number of rows in flight.

    Attributes:
        answers: How many rows were answered so far.
        stopped: Whether the run stops.
    """

    def __init__(self, in_flight: int) -> None:
        self.answers = 0
        self.stopped = False
        self._most = self._allowed = float(in_flight)
        self._in_flight = 0
        self._held_until = 0.0
        self._wait = _FIRST_WAIT
        self._queue: deque[asyncio.Future[None]] = deque()
        self._resting: set[asyncio.Task[None]] = set()

    async def enter(self) -> None:
        """Wait until a row may be sent; `leave` must follow.

        Raises:
            Stopped: The run stops.
        """
        while self._in_flight >= int(self._allowed) and not self.stopped:
            turn = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            await turn
        self._in_flight += 1
        try:
            while (seconds := self._held_until - time.monotonic()) > 0:
                await self.rest(seconds)
        except BaseException:
            self.leave()
            raise
        if self.stopped:
            self.leave()
            raise Stopped

    def leave(self) -> None:
        """Let the next row in."""
        self._in_flight -= 1
        if self._queue:
            self._wake_queue()

    async def rest(self, seconds: float) -> None:
        """Wait.

        Raises:
            Stopped: The run stops, perhaps in the middle of the wait.
        """
        if not self.stopped:
            sleep = asyncio.create_task(asyncio.sleep(seconds))
            self._resting.add(sleep)
            try:
                await asyncio.wait((sleep,))
            finally:
                self._resting.discard(sleep)
                sleep.cancel()
        if self.stopped:
            raise Stopped

    def answered(self) -> None:
        """Record that a row was answered."""
        self.answers += 1
        self._wait = _FIRST_WAIT
        if self._allowed < self._most:
            self._allowed = min(self._most, self._allowed + 1 / self._allowed)
            self._wake_queue()

    def refused(self, retry_after: float | None) -> float:
        """Record that the server does not take requests now, and hold back all rows.

        Args:
            retry_after: Seconds that it asks to wait, or `None`.

        Returns:
            Seconds until rows are sent again.
        """
        now = time.monotonic()
        is_first = now >= self._held_until  # not another one of those that were in flight
        if is_first:
            self._allowed = max(1.0, self._allowed / 2)
        if retry_after is not None:
            self._held_until = max(self._held_until, now + retry_after)
        elif is_first:
            self._held_until = now + self._wait
            self._wait = min(_LONGEST_WAIT, 2 * self._wait)
        return self._held_until - now

    def stop(self) -> None:
        """Stop sending; rows in flight are not interrupted."""
        self.stopped = True
        for turn in self._queue:
            if not turn.done():
                turn.set_result(None)
        for sleep in self._resting:
            sleep.cancel()

    def _wake_queue(self) -> None:
        room = int(self._allowed) - self._in_flight
        while self._queue and room > 0:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1
