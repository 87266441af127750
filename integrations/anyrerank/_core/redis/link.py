"""`RedisLink`: connections to one Redis server, for any number of threads and event loops."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from anyrerank._core.redis.clients import (
    CONNECT_SECONDS,
    again,
    checked_url,
    execute,
    failures,
    is_refused,
    is_timeout,
    refusal,
    shown,
    sync_client,
    unavailable,
    unknown_scripts,
)
from anyrerank._core.redis.loop_link import LARGEST_PIPELINE, LoopLink, Reach
from anyrerank._core.redis.script import Command, repeated
from anyrerank._core.redis.subscriber import Subscriber
from anyrerank._core.redis.unavailable import RedisUnavailableError
from anyrerank._core.runtime import reset_in_child

_PAUSE = 0.25
"""Seconds after a failure in which no thread tries again."""
_SLOW_SECONDS = 5.0


class RedisLink:
    """Sends commands. Nothing is connected before the first one.

    On an event loop, commands that wait at the same time share a pipeline. While the server does not answer, commands
    fail at once, and the link tries to reach it again in the background; in synchronous code, one command in a quarter
    of a second does so.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        timeout: Seconds that a command may take.
        connect_timeout: Seconds that a connection may take while a caller waits for it.
        backlog: How many posted commands to keep while the server is away; with 0, those that it is too slow for are
            lost too.

    Attributes:
        first: Commands that a server runs before the first script that it does not know, as after a restart.

    Raises:
        ConfigurationError: The URL is wrong.
        MissingExtraError: The client library is not installed.
    """

    def __init__(
        self, url: str, *, timeout: float = 0.05, connect_timeout: float = CONNECT_SECONDS, backlog: int = 10_000
    ) -> None:
        self.url = checked_url(url)
        self.timeout = timeout
        self.first: Sequence[Command] = ()
        self._connect_timeout = connect_timeout
        self._largest_backlog = backlog
        self._reset()
        reset_in_child(self, RedisLink._reset)

    def _reset(self) -> None:
        self._client: Any = None
        self._lock = threading.Lock()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopLink] = weakref.WeakKeyDictionary()
        self._backlog: deque[Command] = deque(maxlen=self._largest_backlog)
        self._reach = Reach()
        self._away: str | None = None
        self._next_try = 0.0

    def __repr__(self) -> str:
        return f"RedisLink({shown(self.url)!r})"

    def call(self, command: Command) -> Any:
        """The reply to a command; blocks for at most `timeout`, or longer where a connection has to be made.

        Raises:
            RedisUnavailableError: There is none.
        """
        if self._away is not None and time.monotonic() < self._next_try:
            raise RedisUnavailableError(self._away)
        reply = self._after_backlog([command])[-1]
        if isinstance(reply, Exception):
            raise RedisUnavailableError(unavailable(self.url, reply, self.timeout), is_reply=True)
        return reply

    def call_slowly(self, command: Command) -> Any:
        """The reply to a command that may take seconds, on a connection of its own.

        Raises:
            RedisUnavailableError: There is none.
        """
        try:
            with sync_client(self.url, _SLOW_SECONDS) as client:
                return client.execute_command(*command)
        except failures() as error:
            raise RedisUnavailableError(unavailable(self.url, error, _SLOW_SECONDS)) from None

    def unlink(self, pattern: bytes) -> None:
        """Remove the keys that match a pattern, on a connection of its own; it may take seconds.

        Raises:
            RedisUnavailableError: The server cannot be used; some keys may be removed.
        """
        try:
            with sync_client(self.url, _SLOW_SECONDS) as client:
                cursor = None
                while cursor != 0:
                    cursor, keys = client.scan(cursor or 0, match=pattern, count=1000)
                    if keys:
                        client.unlink(*keys)
        except failures() as error:
            raise RedisUnavailableError(unavailable(self.url, error, _SLOW_SECONDS)) from None

    async def acall(self, command: Command) -> Any:
        """`call`, on the running event loop.

        Raises:
            RedisUnavailableError: There is none.
        """
        return await self._on(asyncio.get_running_loop()).call(command)

    def post(self, command: Command) -> None:
        """Send a command whose reply does not matter; on an event loop without waiting.

        If the server is away or refuses it for now, the command is sent when it is back. If it was sent before without
        a reply, its last argument is then replaced by 1: the server may have run it. The newest ones are kept, as many
        as the backlog takes.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            try:
                self.call(command)
            except RedisUnavailableError as error:
                self._backlog.append(repeated(command) if error.may_have_run else command)
        else:
            self._on(loop).post(command)

    def offer(self, commands: Sequence[Command]) -> None:
        """Send many commands whose replies do not matter, and which are dropped if the server does not answer.

        On an event loop it does not wait, and they are posted.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            with suppress(RedisUnavailableError):
                for start in range(0, len(commands), LARGEST_PIPELINE):
                    self._after_backlog(list(commands[start : start + LARGEST_PIPELINE]))
        else:
            for command in commands:
                self._on(loop).post(command)

    async def apost(self, command: Command) -> None:
        """`post`, on the running event loop, whose end waits for the command to be sent."""
        link = self._on(asyncio.get_running_loop())
        await link.register()
        link.post(command)

    def flush(self) -> None:
        """Send what was posted while the server was away.

        Raises:
            RedisUnavailableError: It still is.
        """
        while self._backlog:
            self._after_backlog([])

    async def aclose(self) -> None:
        """Send what is left on the running event loop, and close all connections."""
        link = self._loops.pop(asyncio.get_running_loop(), None)
        if link is not None:
            await link.close()
        self.close()

    @property
    def is_away(self) -> bool:
        """Whether the server did not answer the last command."""
        return self._reach.is_away

    @property
    def errors(self) -> int:
        """Number of commands, or of pipelines, that the server did not answer."""
        return self._reach.errors

    @property
    def shown(self) -> str:
        """The URL without user and password."""
        return shown(self.url)

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """The exceptions of a `Subscriber` when the server cannot be used."""
        return (*failures(), RedisUnavailableError)

    def reason(self, error: Exception) -> str:
        """The message for one of `failures`."""
        return str(error) if isinstance(error, RedisUnavailableError) else unavailable(self.url, error, CONNECT_SECONDS)

    def subscriber(self, channel: str) -> Subscriber:
        """A connection that listens to a channel; one of `failures` if the server cannot be used."""
        return Subscriber(sync_client(self.url, CONNECT_SECONDS), channel, CONNECT_SECONDS)

    def close(self) -> None:
        """Send what is left, if the server answers, and close the connections of synchronous commands."""
        with suppress(RedisUnavailableError):
            self.flush()
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _on(self, loop: asyncio.AbstractEventLoop) -> LoopLink:
        link = self._loops.get(loop)
        if link is None:
            with self._lock:
                for closed in [each for each in self._loops if each.is_closed()]:
                    del self._loops[closed]
                link = self._loops[loop] = LoopLink(
                    self.url,
                    self.timeout,
                    max(self.timeout, self._connect_timeout),
                    self._backlog,
                    self._reach,
                    first=self.first,
                )
        return link

    def _after_backlog(self, commands: list[Command]) -> list[Any]:
        """The replies to late posts and then to these commands."""
        late = [self._backlog.popleft() for _ in range(min(len(self._backlog), LARGEST_PIPELINE))]
        try:
            replies = self._replies([*late, *commands])
        except failures() as error:
            self._backlog.extendleft(map(repeated, reversed(late)))
            self._lose(error)
            raise RedisUnavailableError(str(self._away), may_have_run=True, timed_out=is_timeout(error)) from None
        if (refused := refusal(replies)) is not None:
            again = [command for command, reply in zip(late, replies[: len(late)], strict=True) if is_refused(reply)]
            self._backlog.extendleft(reversed(again))
            self._lose(refused)
            self._client.connection_pool.disconnect(inuse_connections=False)  # another server may have its address now
            raise RedisUnavailableError(str(self._away), may_have_run=not is_refused(replies[-1]))
        self._away, self._reach.is_away = None, False
        return replies

    def _lose(self, error: BaseException) -> None:
        self._next_try = time.monotonic() + _PAUSE
        self._away = unavailable(self.url, error, self.timeout)
        self._reach.lost()

    def _replies(self, commands: list[Command]) -> list[Any]:
        with self._lock:
            if self._client is None:
                self._client = sync_client(self.url, self.timeout, self._connect_timeout)
        with self._client.pipeline(transaction=False) as pipeline:
            replies: list[Any] = execute(pipeline, commands)
            if unknown := unknown_scripts(replies):
                found = execute(pipeline, [*self.first, *again(commands, unknown)])
                for index, reply in zip(unknown, found[len(self.first) :], strict=True):
                    replies[index] = reply
        return replies
