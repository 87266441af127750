"""Requests, tokens and concurrency of one key."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from anyrerank._core.routing import Load, Need, Terms, Window, available_at
from anyrerank.gateway.errors import GatewayError
from anyrerank.gateway.keys.key import Key


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

    def enter(self, key: Key) -> None:
        """Count a request as in flight.

        Raises:
            GatewayError: As many are as its key may have.
        """
        parallel = key.max_parallel_requests
        if parallel is not None and self.in_flight >= parallel:
            message = f"this key may have {parallel} requests at the same time, and has {self.in_flight}"
            raise self._refused(key, message, 1.0 if parallel else None)
        self.in_flight += 1

    def count(self, key: Key, tokens: int) -> float:
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
        return self._window.add(now, Need(1, tokens))

    def leave(self) -> None:
        """Count a request as finished."""
        self.in_flight -= 1

    def correct(self, start: float, tokens: int) -> None:
        """Count more tokens, or fewer, for a request that was counted at `start`."""
        self._window.change(start, 0, tokens)

    def headers(self, key: Key) -> dict[str, str]:
        """Limit, what is left of it, and the seconds until all of it is free again, for each limit of the key."""
        now = self._clock()
        self._window.forget(now)
        slots = self._window.slots
        reset = 0.0 if not slots else available_at(Terms(rpm=1), self._load(), Need(1), now) - now
        found: dict[str, str] = {}
        for kind, limit, used in (
            ("requests", key.rpm_limit, self._window.requests),
            ("tokens", key.tpm_limit, self._window.tokens),
        ):
            if limit is not None:
                found[f"x-ratelimit-limit-{kind}"] = str(limit)
                found[f"x-ratelimit-remaining-{kind}"] = str(max(0, limit - used))
                found[f"x-ratelimit-reset-{kind}"] = str(math.ceil(reset))
        return found

    def _check(self, key: Key, tokens: int, now: float) -> None:
        rpm, tpm = key.rpm_limit, key.tpm_limit
        if rpm is not None and self._window.requests >= rpm:
            message = f"this key may send {rpm} requests per minute, and has sent {self._window.requests}"
            raise self._refused(key, message, self._wait(Terms(rpm=rpm), Need(1), now) if rpm else None)
        if tpm is not None and self._window.tokens + tokens > tpm:
            message = (
                f"this key may use {tpm} tokens per minute and has used {self._window.tokens}; this request needs "
            )
            if tokens > tpm:
                raise self._refused(key, f"{message}about {tokens}: send fewer or shorter documents", None)
            wait = self._wait(Terms(tpm=tpm), Need(0, tokens), now)
            raise self._refused(key, f"{message}about {tokens}", wait)

    def _wait(self, terms: Terms, need: Need, now: float) -> float:
        return available_at(terms, self._load(), need, now) - now

    def _load(self) -> Load:
        return Load(requests=self._window.requests, tokens=self._window.tokens, slots=self._window.slots)

    def _refused(self, key: Key, message: str, wait: float | None) -> GatewayError:
        return GatewayError(kind="rate_limit_exceeded", message=message, retry_after=wait, headers=self.headers(key))
