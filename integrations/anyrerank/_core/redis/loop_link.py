"""Commands to Redis on one event loop, collected into pipelines."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from anyrerank._core.redis.clients import (
    CONNECT_SECONDS,
    again,
    async_client,
    execute,
    failures,
    is_refused,
    is_timeout,
    refusal,
    unavailable,
    unknown_scripts,
)
from anyrerank._core.redis.script import Command, repeated
from anyrerank._core.redis.unavailable import RedisUnavailableError
from anyrerank._core.runtime import closed_with_loop, finished_within, timeout

LARGEST_PIPELINE = 256
_STEPS = 10
"""Parts of the longest wait: a time in which the event loop was held up counts as one of them at most."""
_LONGEST_QUEUE = 1_000
"""Commands that wait to be sent, where further posted ones may be lost."""
_PAUSE = 0.25
"""Seconds between two attempts to reach a server that does not answer."""

_Waiting: TypeAlias = tuple[Command, asyncio.Future[Any] | None]


@dataclass(slots=True)
class Reach:
    """The state of a server, for all threads and loops.

    Attributes:
        is_away: Whether it did not answer just now: a new loop does not wait long for it.
        errors: How often it did not answer.
    """

    is_away: bool = False
    errors: int = 0

    def lost(self) -> None:
        """Record that it did not answer."""
        self.is_away = True
        self.errors += 1


class LoopLink:
    """Sends the commands that are given while a pipeline is under way together, with the next pipeline.

    Args:
        url: Of the server.
        seconds: How long a pipeline may take.
        longest: How long a call may wait, also for the first connection.
        backlog: Gets the commands that no caller waits for, and that could not be sent; if it has no room for any, they
            may be lost.
        reach: What is known of the server.
        first: Commands that a server runs before the first script that it does not know.
    """

    def __init__(
        self,
        url: str,
        seconds: float,
        longest: float,
        backlog: deque[Command],
        reach: Reach,
        *,
        first: Sequence[Command] = (),
    ) -> None:
        self._url = url
        self._seconds = seconds
        self._longest = longest
        self._backlog = backlog
        self._reach = reach
        self._first = first
        self._client = async_client(url)
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._away: str | None = None
        self._unanswered: dict[asyncio.Future[Any], int] = {}
        self._tick = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_registered = False
        self._was_connected = False

    async def call(self, command: Command) -> Any:
        """The reply to a command.

        Raises:
            RedisUnavailableError: There is none.
        """
        if self._away is not None:
            self._keep_running()
            raise RedisUnavailableError(self._away)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, reply))
        self._keep_running()
        self._unanswered[reply] = self._tick
        self._watch()
        return await reply

    def post(self, command: Command) -> None:
        """Send a command whose reply does not matter; later, if the server is away."""
        if self._away is not None:
            self._backlog.append(command)
        elif self._backlog.maxlen or len(self._waiting) < _LONGEST_QUEUE:
            self._waiting.append((command, None))
        self._keep_running()

    async def register(self) -> None:
        """Let the end of the event loop send what is left."""
        if not self._is_registered:
            self._is_registered = True
            await closed_with_loop(self)

    async def close(self) -> None:
        """Send what is left, unless the server is away, and close the connections."""
        if self._task is not None:
            if self._away is None:
                await finished_within(self._longest, self._task)
            self._task.cancel()
            await asyncio.wait((self._task,))
        if self._away is None:
            self._take_backlog()
        while self._away is None and self._waiting:
            await self._send_waiting()
        await self._client.aclose()

    def _keep_running(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _watch(self) -> None:
        """Refuse calls that wait for too long. One timer for all of them takes far less time than one for each."""
        if self._timer is None and self._unanswered:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._longest / _STEPS, self._refuse_late)

    def _refuse_late(self) -> None:
        self._timer = None
        self._tick += 1
        for reply, tick in list(self._unanswered.items()):
            if self._tick - tick <= _STEPS:
                break
            del self._unanswered[reply]
            if not reply.done():
                why = unavailable(self._url, asyncio.TimeoutError(), self._longest)
                reply.set_exception(RedisUnavailableError(why, may_have_run=True, timed_out=True))
        self._watch()

    async def _run(self) -> None:
        await self.register()
        if not self._was_connected:
            self._was_connected = True
            await self._connect(self._seconds if self._reach.is_away else CONNECT_SECONDS)
        while self._waiting or self._away is not None:
            if self._away is None:
                await self._send_waiting()
                continue
            await self._connect(CONNECT_SECONDS)
            if self._away is not None:
                await asyncio.sleep(_PAUSE)

    async def _connect(self, seconds: float) -> None:
        """Check whether the server answers; a connection may take longer than a command."""
        try:
            async with timeout(seconds):
                await self._client.ping()
        except failures() as error:
            self._lose((), error, seconds)
        else:
            self._away, self._reach.is_away = None, False
            self._take_backlog()

    async def _send_waiting(self) -> None:
        """Send one pipeline."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_PIPELINE))]
        try:
            replies = await self._replies_in_time([command for command, _ in batch])
        except failures() as error:
            self._lose(batch, error, self._seconds)
        except asyncio.CancelledError:  # the loop ends
            self._refuse(batch, "the event loop ended", may_have_run=True)
            if not self._backlog.maxlen:
                self._waiting.extend(each for each in batch if each[1] is None)
            raise
        else:
            for (command, future), reply in zip(batch, replies, strict=True):
                self._answer(future, reply)
                if future is None and is_refused(reply):
                    self._backlog.append(command)
            if (refused := refusal(replies)) is not None:
                self._lose((), refused, self._seconds)
                await self._client.connection_pool.disconnect()  # another server may have its address now
                await asyncio.sleep(_PAUSE)

    def _lose(self, batch: Sequence[_Waiting], error: Exception, seconds: float) -> None:
        """Refuse commands until the server answers again."""
        self._away = unavailable(self._url, error, seconds)
        self._reach.lost()
        self._refuse(batch, self._away, may_have_run=True, timed_out=is_timeout(error))
        self._refuse(self._waiting, self._away, may_have_run=False)
        self._waiting.clear()

    async def _replies_in_time(self, commands: Sequence[Command]) -> list[Any]:
        sending = asyncio.get_running_loop().create_task(self._replies(commands))
        try:
            if await finished_within(self._seconds, sending):
                return sending.result()
            raise asyncio.TimeoutError
        finally:
            sending.cancel()
            await asyncio.wait((sending,))

    async def _replies(self, commands: Sequence[Command]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            replies: list[Any] = await execute(pipeline, commands)
            if unknown := unknown_scripts(replies):
                found = await execute(pipeline, [*self._first, *again(commands, unknown)])
                for index, reply in zip(unknown, found[len(self._first) :], strict=True):
                    replies[index] = reply
        return replies

    def _answer(self, future: asyncio.Future[Any] | None, reply: Any) -> None:
        if future is None:
            return
        self._unanswered.pop(future, None)
        if future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(RedisUnavailableError(unavailable(self._url, reply, self._seconds), is_reply=True))
        else:
            future.set_result(reply)

    def _refuse(self, batch: Iterable[_Waiting], why: str, *, may_have_run: bool, timed_out: bool = False) -> None:
        for command, future in batch:
            if future is None:
                self._backlog.append(repeated(command) if may_have_run else command)
                continue
            self._unanswered.pop(future, None)
            if not future.done():
                future.set_exception(RedisUnavailableError(why, may_have_run=may_have_run, timed_out=timed_out))

    def _take_backlog(self) -> None:
        while self._backlog:
            self._waiting.append((self._backlog.popleft(), None))
