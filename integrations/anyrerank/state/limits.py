"""The state of rate limits in Redis."""

from __future__ import annotations

import threading
import time

from anyrerank._core.limits import LimitState, Need, Pace, Rates
from anyrerank._core.redis import RedisLink, RedisUnavailableError, Script
from anyrerank._core.runtime import Flow, reset_in_child
from anyrerank.state.notifications import Notifications
from anyrerank.state.replies import reply_to

_BOOK = Script("anyrerank.state.scripts", "book")
_REBOOK = Script("anyrerank.state.scripts", "rebook")
_MICRO = 1_000_000


class RedisLimits(LimitState):
    """When requests may be sent, for all processes; while the server does not answer, this one has its share.

    Args:
        link: To the server.
        prefix: Of its keys.
        notifications: Has the number of processes.
    """

    def __init__(self, link: RedisLink, prefix: str, notifications: Notifications) -> None:
        self._link = link
        self._prefix = prefix
        self._notifications = notifications
        self._local: dict[str, Pace] = {}
        self._reset()
        reset_in_child(self, RedisLimits._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()

    def book(self, name: str, rates: Rates, need: Need, longest: float | None) -> Flow[float]:
        """Seconds until a request may be sent; if they are at most `longest`, its place is taken."""
        self._notifications.start()
        args = [
            round(need.requests * rates.request * _MICRO),
            round(need.tokens * rates.token * _MICRO),
            round(rates.tolerance * _MICRO),
            "" if longest is None else round(longest * _MICRO),
        ]
        try:
            microseconds = yield from reply_to(self._link, _BOOK.command([self._key(name)], args))
        except RedisUnavailableError:
            return self._booked_here(name, rates, need, longest)
        seconds = int(microseconds) / _MICRO
        if longest is None or seconds <= longest:
            with self._lock:
                self._pace(name).follow(rates, time.monotonic() + seconds)
        return seconds

    def correct(self, name: str, rates: Rates, more: Need) -> None:
        """Count more, or less, than was booked. On an event loop it does not wait; it never raises."""
        args = [round(more.requests * rates.request * _MICRO), round(more.tokens * rates.token * _MICRO), 0]
        self._link.post(_REBOOK.command([self._key(name)], args))

    def _booked_here(self, name: str, rates: Rates, need: Need, longest: float | None) -> float:
        with self._lock:
            share = rates.slower(self._notifications.replicas)
            seconds = self._pace(name).book(share, need, time.monotonic(), longest)
        if longest is None or seconds <= longest:
            self.correct(name, rates, need)  # counts when the server is back
        return seconds

    def _pace(self, name: str) -> Pace:
        return self._local.setdefault(name, Pace())

    def _key(self, name: str) -> str:
        return f"{self._prefix}:limit:{name}"
