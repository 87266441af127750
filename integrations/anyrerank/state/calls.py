"""Requests, tokens and concurrency of one caller, in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from anyrerank._core.redis import Command, RedisLink, RedisUnavailableError, Script
from anyrerank._core.runtime import Flow, reset_in_child
from anyrerank.state.notifications import Notifications
from anyrerank.state.recent_use import Batch, RecentUse
from anyrerank.state.replies import LOST, asking, reply_once_whole, reply_to

_CATCH_UP = Script("anyrerank.state.scripts", "catch_up")
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

    It stores what this process has used in the last minute: use that was allowed while the server was away is counted
    when it is back, and a server that has lost its data gets all of it again, each for the rest of its minute.

    Args:
        link: To the server.
        key: Of what is counted.
        notifications: How processes agree that the server has its data. Without it, a server that has lost its data
            counts from 0.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        link: RedisLink,
        key: str,
        notifications: Notifications | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._key = key
        self._notifications = notifications
        self._recent = RecentUse(clock)
        self._reset()
        reset_in_child(self, RedisCalls._reset)

    def _reset(self) -> None:
        self._id = uuid4().hex
        self._recent.reset()

    def count(self, rpm: int | None, tpm: int | None, requests: int, tokens: int) -> Flow[Counted]:
        """Count requests and tokens, if the limits per minute allow it. More than a limit waits for an empty minute.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        while (batch := self._recent.unsent()) is not None:
            yield from reply_once_whole(self._link, partial(self._late, batch), self._notifications)
            self._recent.sent(batch)
        args = ["" if rpm is None else rpm, "" if tpm is None else tpm, requests, tokens]
        command = partial(asking, _COUNT, [self._key], args, self._notifications)
        reply = yield from reply_once_whole(self._link, command, self._notifications)
        if reply[0]:
            self._recent.counted(requests, tokens)
            return Counted(int(reply[1]), int(reply[2]), int(reply[3]))
        return Counted(None, int(reply[2]), int(reply[3]), int(reply[1]) / 1000)

    def add(self, requests: int, tokens: int, *, is_counted: bool = False) -> None:
        """Count what was allowed without the server, as soon as it answers. It does not wait.

        Args:
            requests: How many.
            tokens: How many.
            is_counted: Whether the server has most likely counted it: then only one that loses its data gets it.
        """
        if is_counted:
            self._recent.counted(requests, tokens)
            return
        self._recent.add(requests, tokens)
        if self._notifications is not None:
            self._notifications.late.add(self)

    def correct(self, second: int | None, requests: int, tokens: int) -> None:
        """Count more, or less, than was counted in a second; `None` if it was counted without the server.

        On an event loop it does not wait; it never raises.
        """
        if second is None:
            self.add(requests, tokens)
            return
        self._recent.counted(requests, tokens)
        self._link.post(_CORRECT.command([self._key], [second, requests, tokens, 0]))

    def catch_up(self) -> None:
        """Let the server count what was allowed without it. It blocks.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        while (batch := self._recent.unsent()) is not None:
            if self._link.call(self._late(batch)) == LOST:
                return
            self._recent.sent(batch)

    def give_back(self, loss: str) -> None:
        """Let a server that has lost its data count again what it had counted. It blocks.

        Args:
            loss: The same if this is repeated for the same loss.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        if uses := self._recent.all_counted():
            args: list[str | int] = [f"{self._id}:lost", loss, *self._recent.ages(uses)]
            self._link.call(asking(_CATCH_UP, [self._key], args, None))

    def _late(self, batch: Batch) -> Command:
        args: list[str | int] = [self._id, batch.number, *self._recent.ages(batch.uses)]
        return asking(_CATCH_UP, [self._key], args, self._notifications)

    def enter(self, limit: int) -> Flow[tuple[str | None, int]]:
        """Count a call as in flight, for a minute unless it is renewed.

        Returns:
            Its id, for `leave`, or `None` if `limit` are in flight already; and how many are.

        Raises:
            RedisUnavailableError: The server does not answer.
        """
        call_id = uuid4().hex
        try:
            args: list[str | int] = [call_id, _IN_FLIGHT_SECONDS, limit]
            command = partial(asking, _ENTER, [f"{self._key}:in_flight"], args, self._notifications)
            allowed, count = yield from reply_once_whole(self._link, command, self._notifications)
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
