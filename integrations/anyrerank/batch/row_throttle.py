"""`RowThrottle`: requests of a row wait for rate limits without a timeout."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from anyrerank._core.limits import Limit, Throttle
from anyrerank._core.runtime import Flow, Invoke
from anyrerank.batch.pace import Pace


class RowThrottle(Throttle):
    """The turns of one row. The time of a wait does not count in the timeout of its call.

    Args:
        limits: What its requests wait for.
        pace: When the run stops, a row of which nothing was sent waits no longer.
    """

    def __init__(self, limits: Sequence[Throttle], pace: Pace) -> None:
        self._limits = [each for each in limits if isinstance(each, Limit)]
        self._pace = pace
        self._is_sent = False
        self.counts_tokens = any(limit.counts_tokens for limit in self._limits)
        self.postponed = 0.0

    def wait(self, tokens: int, longest: float | None) -> Flow[None]:
        """Wait until a request may be sent, for any time.

        Raises:
            Stopped: The run stops.
        """
        for limit in self._limits:
            seconds = yield from limit.book(tokens, None)
            if seconds:
                try:
                    yield Invoke(partial(time.sleep, seconds), partial(self._rest, seconds))
                except BaseException:
                    limit.give_back(tokens)
                    raise
                self.postponed += seconds
        self._is_sent = True

    def correct(self, tokens: int) -> None:
        """Count more tokens than were said before, or fewer."""
        for limit in self._limits:
            limit.correct(tokens)

    async def _rest(self, seconds: float) -> None:
        await (asyncio.sleep if self._is_sent else self._pace.rest)(seconds)
