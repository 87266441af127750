"""Requests, tokens and concurrency of one caller, in Redis."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import uuid4

from anyrerank._core.redis import RedisLink, RedisUnavailableError, Script
from anyrerank._core.runtime import Flow
from anyrerank.state.notifications import Notifications
from anyrerank.state.replies import reply_to

_COUNT = Script("anyrerank.state.scripts", "count")
_CORRECT = Script("anyrerank.state.scripts", "correct")
_ENTER = Script("anyrerank.state.scripts", "enter")
_LEAVE = Script("anyrerank.state.scripts", "leave")
_RENEW = Script("anyrerank.state.scripts", "renew")
_IN_FLIGHT_SECONDS = 60
"""After which a call in flight counts no more, unless it is renewed: its process was killed."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The use that the server reported when a call was counted, or refused.

    Attributes:
        second: In which it was counted; `None` if it was refused.
        requests, tokens: Of the last minute; with those of this call, unless it was refused.
        wait: Seconds until it would be counted, if it was refused.
    """

    second: int | None
    requests: int
    tokens: int
    wait: float = 0.0


class RedisCalls:
    """Counts the calls of one caller in all processes.

    Args:
        link: To the server.
        key: Of what is counted.
        notifications: How processes agree that the server has its data. Without it, a server that has lost its data
            counts from 0.
    """

    def __init__(self, link: RedisLink, key: str, notifications: Notifications | None = None) -> None:
        self._link = link
        self._key = key
        self._notifications = notifications
        self._whole = [] if notifications is None else [notifications.whole]

    def count(self, rpm: int | None, tpm: int | None, requests: int, tokens: int) -> Flow[Counted]:
        """Count requests and tokens, if the limits per minute allow it. More than a limit waits for an empty minute.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        args = ["" if rpm is None else rpm, "" if tpm is None else tpm, requests, tokens, 0]
        reply = yield from reply_to(self._link, _COUNT.command([self._key, *self._whole], args), self._notifications)
        if reply[0]:
            return Counted(int(reply[1]), int(reply[2]), int(reply[3]))
        return Counted(None, int(reply[2]), int(reply[3]), int(reply[1]) / 1000)

    def add(self, requests: int, tokens: int) -> None:
        """Count what was allowed without asking. On an event loop it does not wait; it never raises."""
        self._link.post(_COUNT.command([self._key], ["", "", requests, tokens, 0]))

    def correct(self, second: int, requests: int, tokens: int) -> None:
        """Count more, or less, in a second. On an event loop it does not wait; it never raises."""
        self._link.post(_CORRECT.command([self._key], [second, requests, tokens, 0]))

    def enter(self, limit: int) -> Flow[tuple[str | None, int]]:
        """Count a call as in flight, for a minute unless it is renewed.

        Returns:
            Its id, for `leave`, or `None` if `limit` are in flight already; and how many are.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        call_id = uuid4().hex
        try:
            allowed, count = yield from reply_to(
                self._link,
                _ENTER.command([f"{self._key}:in_flight", *self._whole], [call_id, _IN_FLIGHT_SECONDS, limit]),
                self._notifications,
            )
        except BaseException as error:  # perhaps after it was counted
            if not isinstance(error, RedisUnavailableError) or error.may_have_run:
                self.leave(call_id)
            raise
        return (call_id if allowed else None), int(count)

    def renew(self, call_ids: Collection[str]) -> Flow[None]:
        """Count calls as in flight for another minute.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        yield from reply_to(self._link, _RENEW.command([f"{self._key}:in_flight"], [_IN_FLIGHT_SECONDS, *call_ids]))

    def leave(self, call_id: str) -> None:
        """Count a call as finished. On an event loop it does not wait; it never raises."""
        self._link.post(_LEAVE.command([f"{self._key}:in_flight"], [call_id, 0]))
