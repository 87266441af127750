"""Requests, tokens and concurrency of one key."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from anyrerank._core.routing import Load, Need, Terms, Window, available_at
from anyrerank.gateway.errors import GatewayError
from anyrerank.gateway.keys.key import Key


@dataclass(frozen=True, slots=True)
class Use:
    """The use of a key in the last minute.

    Attributes:
        requests, tokens: How many.
        reset: Seconds until all of it is free again.
    """

    requests: int
    tokens: int
    reset: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request was counted: a slot of this process, and a second that all replicas share, if they do."""

    slot: float
    second: int | None = None


class Limits:
    """Counts the requests and tokens of the last minute, and the requests in flight.

    Belongs to one event loop: nothing happens between a check and its count.

    Args:
        clock: Seconds that only go up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.in_flight = 0
        self._clock = clock
        self._window = Window()

    async def enter(self, key: Key) -> str | None:
        """Count a request as in flight, and return what `leave` needs.

        Raises:
            GatewayError: As many are as its key may have.
        """
        if key.max_parallel_requests is not None and self.in_flight >= key.max_parallel_requests:
            raise self._too_parallel(key, self.in_flight)
        self.in_flight += 1
        return None

    def leave(self, ticket: str | None) -> None:  # noqa: ARG002  replicas that share need it
        """Count a request as finished."""
        self.in_flight -= 1

    async def count(self, key: Key, tokens: int) -> Place:
        """Count a request and its tokens, and return what `correct` needs.

        Args:
            key: Its limits.
            tokens: About how many it will use.

        Raises:
            GatewayError: It is above a limit. Nothing was counted.
        """
        now = self._clock()
        self._window.forget(now)
        self._check(key, tokens, now)
        return Place(self._window.add(now, Need(1, tokens)))

    def correct(self, place: Place, tokens: int) -> None:
        """Count more tokens, or fewer, for a request that was counted before."""
        self._window.change(place.slot, 0, tokens)

    def give_back(self, loss: str) -> None:
        """Count again elsewhere what other replicas need to know; here there are none. May run in any thread.

        Args:
            loss: The same if this is repeated for the same loss.
        """

    def headers(self, key: Key) -> dict[str, str]:
        """Limit, what is left of it, and the seconds until all of it is free again, for each limit of the key."""
        return self._headers(key)

    def _headers(self, key: Key) -> dict[str, str]:
        used = self._use()
        found: dict[str, str] = {}
        for kind, limit, amount in (
            ("requests", key.rpm_limit, used.requests),
            ("tokens", key.tpm_limit, used.tokens),
        ):
            if limit is not None:
                found[f"x-ratelimit-limit-{kind}"] = str(limit)
                found[f"x-ratelimit-remaining-{kind}"] = str(max(0, limit - amount))
                found[f"x-ratelimit-reset-{kind}"] = str(math.ceil(used.reset))
        return found

    def _use(self) -> Use:
        now = self._clock()
        self._window.forget(now)
        reset = available_at(Terms(rpm=1), self._load(), Need(1), now) - now if self._window.slots else 0.0
        return Use(self._window.requests, self._window.tokens, reset)

    def _check(self, key: Key, tokens: int, now: float) -> None:
        rpm, tpm = key.rpm_limit, key.tpm_limit
        self._check_ever(key, tokens)
        if rpm is not None and self._window.requests >= rpm:
            raise self._too_many(key, self._window.requests, self._wait(Terms(rpm=rpm), Need(1), now))
        if tpm is not None and self._window.tokens + tokens > tpm:
            wait = self._wait(Terms(tpm=tpm), Need(0, tokens), now)
            raise self._too_large(key, tokens, self._window.tokens, wait)

    def _check_ever(self, key: Key, tokens: int) -> None:
        """Raise for a request that no minute has room for."""
        if key.rpm_limit == 0:
            raise self._too_many(key, self._use().requests, None)
        if key.tpm_limit is not None and tokens > key.tpm_limit:
            raise self._too_large(key, tokens, self._use().tokens, None)

    def _wait(self, terms: Terms, need: Need, now: float) -> float:
        return available_at(terms, self._load(), need, now) - now

    def _load(self) -> Load:
        return Load(requests=self._window.requests, tokens=self._window.tokens, slots=self._window.slots)

    def _too_parallel(self, key: Key, count: int) -> GatewayError:
        limit = key.max_parallel_requests
        message = f"this key may have {limit} requests at the same time, and has {count}"
        return self._refused(key, message, 1.0 if limit else None)

    def _too_many(self, key: Key, requests: int, wait: float | None) -> GatewayError:
        message = f"this key may send {key.rpm_limit} requests per minute, and has sent {requests}"
        return self._refused(key, message, wait)

    def _too_large(self, key: Key, tokens: int, used: int, wait: float | None) -> GatewayError:
        hint = ": send fewer or shorter documents" if wait is None else ""
        message = (
            f"this key may use {key.tpm_limit} tokens per minute and has used {used}; this request needs about "
            f"{tokens}{hint}"
        )
        return self._refused(key, message, wait)

    def _refused(self, key: Key, message: str, wait: float | None) -> GatewayError:
        return GatewayError(kind="rate_limit_exceeded", message=message, retry_after=wait, headers=self._headers(key))
