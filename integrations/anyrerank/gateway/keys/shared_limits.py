"""Requests, tokens and concurrency of one key, over all replicas of a gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

from anyrerank._core.redis import RedisUnavailableError
from anyrerank._core.routing import Need
from anyrerank._core.runtime import arun, run
from anyrerank.gateway.errors import GatewayError
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
        self._is_alone = False
        """Whether the server did not answer when a request was last counted."""
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
            self._calls.add(1, tokens, is_counted=error.timed_out)
            return place
        self._last, self._last_at, self._since, self._is_alone = counted, self._clock(), Need(0, 0), False
        if counted.second is None:
            if key.rpm_limit is not None and counted.requests >= key.rpm_limit:
                raise self._too_many(key, counted.requests, counted.wait)
            raise self._too_large(key, tokens, counted.tokens, counted.wait)
        return Place(self._window.add(self._clock(), Need(1, tokens)), counted.second)

    async def _count_here(self, key: Key, tokens: int) -> Place:
        """Count within the share of this replica, while the server does not answer."""
        self._is_alone = True
        share, wait = self._share(key), self._last_at + _MINUTE - self._clock()
        if self._last is None or wait <= 0:
            self._last = None
            return await super().count(share, tokens)
        now = self._since
        if share.rpm_limit is not None and now.requests >= share.rpm_limit:
            raise self._used_up(share, f"{key.rpm_limit} requests", share.rpm_limit, wait)
        if share.tpm_limit is not None and now.tokens + tokens > share.tpm_limit:
            raise self._used_up(share, f"{key.tpm_limit} tokens", share.tpm_limit, wait)
        self._since = Need(now.requests + 1, now.tokens + tokens)
        return Place(self._window.add(self._clock(), Need(1, tokens)))

    def _used_up(self, share: Key, limit: str, left: int, wait: float) -> GatewayError:
        message = (
            f"this key may use {limit} per minute. Redis does not answer, so this replica has only its share of what "
            f"was left, {left}, and it does not suffice for this request"
        )
        return self._refused(share, message, wait)

    def _share(self, key: Key) -> Key:
        """The key with the limits of this replica alone.

        They are a share of what was left when the server last answered, if that was less than a minute ago.
        """
        replicas, last = self._notifications.replicas, self._last
        if last is None or self._last_at + _MINUTE <= self._clock():
            return key.share(replicas)
        rpm, tpm = key.rpm_limit, key.tpm_limit
        return replace(
            key,
            rpm_limit=None if rpm is None else max(0, rpm - last.requests) // replicas,
            tpm_limit=None if tpm is None else max(0, tpm - last.tokens) // replicas,
        )

    def correct(self, place: Place, tokens: int) -> None:
        """Count more tokens, or fewer, for a request that was counted before."""
        super().correct(place, tokens)
        if tokens:
            self._calls.correct(place.second, 0, tokens)

    def give_back(self, loss: str) -> None:
        """Let a server that has lost its data know what was used in the last minute, and what is in flight.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        self._calls.give_back(loss)
        if tickets := self._tickets.copy():
            run(self._calls.renew(tickets))

    def headers(self, key: Key) -> dict[str, str]:
        """Limits and what is left, of this replica alone while the server does not answer; see `Limits`."""
        return self._headers(self._share(key) if self._is_alone else key)

    def _use(self) -> Use:
        """As the server said last, if that was less than a minute ago."""
        reset = self._last_at + _MINUTE - self._clock()
        if self._last is None or reset <= 0:
            return super()._use()
        if self._is_alone:
            return Use(self._since.requests, self._since.tokens, reset)
        return Use(self._last.requests, self._last.tokens, reset)
