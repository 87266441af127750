"""The limit of concurrent requests, with a queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from anyrerank.gateway.errors import GatewayError

Hold = Callable[[int], None]
"""Takes a number of bytes, or raises a `GatewayError`."""


class Admission:
    """Lets a number of requests in, lets some wait for a short time, and refuses the rest at once.

    Belongs to one event loop.

    Args:
        limit: How many are let in.
        queue: How many may wait.
        seconds: How long one may wait.
        max_bytes: How much the bodies of those that were let in may have together.

    Attributes:
        in_flight: How many were let in.
        held: Bytes of their bodies.
    """

    def __init__(self, limit: int, queue: int, seconds: float, max_bytes: int) -> None:
        self.limit = limit
        self.queue = queue
        self.seconds = seconds
        self.max_bytes = max_bytes
        self.in_flight = 0
        self.held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Hold]:
        """Hold a place; the function takes bytes for the body, until the place is given back.

        Raises:
            GatewayError: None was free, or none became free in time.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self.held + size > self.max_bytes:
                raise self._full()
            self.held += size
            held += size

        if self.in_flight < self.limit:
            self.in_flight += 1
        else:
            await self._next_free()
        try:
            yield hold
        finally:
            self.held -= held
            self._release()

    async def _next_free(self) -> None:
        """Wait until a request passes its place on."""
        if len(self._waiting) >= self.queue:
            raise self._overloaded()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_later(self.seconds, turn.cancel)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():  # by the timer, or with the request
                self._waiting.remove(turn)
            else:
                self._release()  # the place came too late
            if timer.cancelled() or timer.when() > loop.time():
                raise
            raise self._overloaded() from None
        finally:
            timer.cancel()

    def _release(self) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self.in_flight -= 1

    def _full(self) -> GatewayError:
        return GatewayError(
            kind="overloaded",
            message=f"the gateway is busy: the requests in flight hold {self.held / 2**20:.0f} MiB",
            retry_after=max(1.0, self.seconds),
            headers={"connection": "close"},  # the rest of the body is not read
        )

    def _overloaded(self) -> GatewayError:
        return GatewayError(
            kind="overloaded",
            message=f"the gateway is busy: {self.in_flight} requests are in flight and {self.waiting} wait",
            retry_after=max(1.0, self.seconds),
        )
