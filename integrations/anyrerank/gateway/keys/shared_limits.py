"""Requests, tokens and concurrency of one key, over all replicas of a gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from uuid import uuid4

from anyrerank._core.redis import RedisUnavailableError
from anyrerank._core.routing import Need
from anyrerank._core.runtime import arun, run
from anyrerank.gateway.keys.key import Key
from anyrerank.gateway.keys.limits import Limits, Place, Use
from anyrerank.state import Counted, Notifications, RedisCalls

_MINUTE = 60.0
_RENEWAL_SECONDS = 15.0
"""After which the server is told again what is in flight: it forgets calls of a process that was killed."""


class SharedLimits(Limits):
    """The server counts for all replicas. While it does not answer, each has its share of the limits.

    Args:
        calls: Counts for all replicas.
        notifications: Knows how many there are.
        clock: Seconds that only go up.
    """

    def __init__(
        self, calls: RedisCalls, notifications: Notifications, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._calls = calls
        self._notifications = notifications
        self._last: Counted | None = None
        self._last_at = 0.0
        self._since = Need(0, 0)
        self._tickets: set[str] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._is_unknown = False
        """Whether the server may not know all that is in flight here."""

    async def enter(self, key: Key) -> str | None:
        """Count a request as in flight; see `Limits`."""
        if key.max_parallel_requests is None:
            return await super().enter(key)
        try:
            if self._is_unknown:
                await arun(self._calls.renew(self._tickets))
            ticket, count = await arun(self._calls.enter(key.max_parallel_requests))
        except RedisUnavailableError:
            self._is_unknown = True
            await super().enter(key.share(self._notifications.replicas))
            ticket = uuid4().hex
        else:
            self._is_unknown = False
            if ticket is None:
                raise self._too_parallel(key, count)
            self.in_flight += 1
        self._tickets.add(ticket)
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
        return ticket

    def leave(self, ticket: str | None) -> None:
        """Count a request as finished."""
        super().leave(ticket)
        if ticket is not None:
            self._tickets.discard(ticket)
            self._calls.leave(ticket)

    async def _renew(self) -> None:
        """Tell the server what is in flight, for as long as something is."""
        while self._tickets:
            await asyncio.sleep(_RENEWAL_SECONDS)
            try:
                await arun(self._calls.renew(self._tickets))
            except RedisUnavailableError:
                self._is_unknown = True
        self._renewing = None

    async def count(self, key: Key, tokens: int) -> Place:
        """Count a request and its tokens; see `Limits`."""
        if key.rpm_limit is None and key.tpm_limit is None:
            return await super().count(key, tokens)
        self._check_ever(key, tokens)
        try:
            counted = await arun(self._calls.count(key.rpm_limit, key.tpm_limit, 1, tokens))
        except RedisUnavailableError as error:
            place = await self._count_here(key, tokens)
            if not error.may_have_run:
                self._calls.add(1, tokens)
            return place
        self._last, self._last_at, self._since = counted, self._clock(), Need(0, 0)
        if counted.second is None:
            if key.rpm_limit is not None and counted.requests >= key.rpm_limit:
                raise self._too_many(key, counted.requests, counted.wait)
            raise self._too_large(key, tokens, counted.tokens, counted.wait)
        return Place(self._window.add(self._clock(), Need(1, tokens)), counted.second)

    async def _count_here(self, key: Key, tokens: int) -> Place:
        """Count within the share of this replica, while the server does not answer.

        It is a share of what was left when the server last answered, if that was less than a minute ago.
        """
        replicas, wait = self._notifications.replicas, self._last_at + _MINUTE - self._clock()
        if self._last is None or wait <= 0:
            self._last = None
            return await super().count(key.share(replicas), tokens)
        now, last = self._since, self._last
        if key.rpm_limit is not None and now.requests >= (key.rpm_limit - last.requests) // replicas:
            raise self._too_many(key, last.requests + now.requests, wait)
        if key.tpm_limit is not None and now.tokens + tokens > (key.tpm_limit - last.tokens) // replicas:
            raise self._too_large(key, tokens, last.tokens + now.tokens, wait)
        self._since = Need(now.requests + 1, now.tokens + tokens)
        return Place(self._window.add(self._clock(), Need(1, tokens)))

    def correct(self, place: Place, tokens: int) -> None:
        """Count more tokens, or fewer, for a request that was counted before."""
        super().correct(place, tokens)
        if place.second is not None and tokens:
            self._calls.correct(place.second, 0, tokens)

    def give_back(self) -> None:
        """Let a server that has lost its data know what was used in the last minute, and what is in flight.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        recent = [each for each in self._window.slots if each.last > self._clock() - _MINUTE]
        if requests := sum(each.requests for each in recent):
            self._calls.add(requests, sum(each.tokens for each in recent))
        if tickets := self._tickets.copy():
            run(self._calls.renew(tickets))

    def _use(self) -> Use:
        """As the server said last, if that was less than a minute ago."""
        reset = self._last_at + _MINUTE - self._clock()
        if self._last is None or reset <= 0:
            return super()._use()
        return Use(self._last.requests + self._since.requests, self._last.tokens + self._since.tokens, reset)
