"""Commands to Redis on one event loop, gathered into pipelines."""

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
    unavailable,
    unknown_scripts,
)
from anyrerank._core.redis.script import Command, repeated
from anyrerank._core.redis.unavailable import RedisUnavailableError
from anyrerank._core.runtime import closed_with_loop, timeout

LARGEST_PIPELINE = 256
_PAUSE = 0.25
"""Seconds between two attempts to reach a server that does not answer."""

_BUSY = 1.1
"""A loop is busy if a wait takes longer by this factor: a reply may have arrived that it has not read yet."""
_PERIODS = 4
"""How often a pipeline gets its time on a loop that is busy."""

_Waiting: TypeAlias = tuple[Command, asyncio.Future[Any] | None]


@dataclass(slots=True)
class Reach:
    """What all threads and loops know of a server: a new loop does not wait long for one that was away just now."""

    is_away: bool = False


class LoopLink:
    """Sends the commands that are given while a pipeline is under way together, with the next pipeline.

    Args:
        url: Of the server.
        seconds: How long a pipeline may take.
        backlog: Gets the commands that no caller waits for, and that could not be sent.
        reach: Whether the server was away just now.
    """

    def __init__(self, url: str, seconds: float, backlog: deque[Command], reach: Reach) -> None:
        self._url = url
        self._seconds = seconds
        self._backlog = backlog
        self._reach = reach
        self._client = async_client(url)
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._away: str | None = None
        self._is_registered = False

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
        return await reply

    def post(self, command: Command) -> None:
        """Send a command whose reply does not matter; later, if the server is away."""
        if self._away is None:
            self._waiting.append((command, None))
        else:
            self._backlog.append(command)
        self._keep_running()

    async def close(self) -> None:
        """Send what is left, unless the server is away, and close the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        if self._away is None:
            self._take_backlog()
        while self._waiting:
            await self._send_waiting()
        await self._client.aclose()

    def _keep_running(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        if not self._is_registered:
            self._is_registered = True
            await closed_with_loop(self)
            await self._connect(self._seconds if self._reach.is_away else CONNECT_SECONDS)
        while self._waiting or self._away is not None:
            if self._away is None:
                await self._send_waiting()
                continue
            await self._connect(CONNECT_SECONDS)
            if self._away is not None:
                await asyncio.sleep(_PAUSE)

    async def _connect(self, seconds: float) -> None:
        """Find out whether the server answers; a connection may take longer than a command."""
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
            replies = await self._in_time([command for command, _ in batch])
        except failures() as error:
            self._lose(batch, error, self._seconds)
        except asyncio.CancelledError:  # the loop ends
            self._refuse(batch, "the event loop ended", may_have_run=True)
            raise
        else:
            for (_, future), reply in zip(batch, replies, strict=True):
                self._answer(future, reply)

    def _lose(self, batch: Sequence[_Waiting], error: Exception, seconds: float) -> None:
        """Refuse commands until the server answers again."""
        self._away, self._reach.is_away = unavailable(self._url, error, seconds), True
        self._refuse(batch, self._away, may_have_run=True)
        self._refuse(self._waiting, self._away, may_have_run=False)
        self._waiting.clear()

    async def _in_time(self, commands: Sequence[Command]) -> list[Any]:
        """The replies. Time in which the loop was busy with something else hardly counts."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._replies(commands))
        try:
            for _ in range(_PERIODS):
                began = loop.time()
                await asyncio.wait((task,), timeout=self._seconds)
                if task.done() or loop.time() - began < _BUSY * self._seconds:
                    break
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        if task.cancelled():
            raise asyncio.TimeoutError
        return task.result()

    async def _replies(self, commands: Sequence[Command]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            replies: list[Any] = await execute(pipeline, commands)
            if unknown := unknown_scripts(replies):
                found = await execute(pipeline, again(commands, unknown))
                for index, reply in zip(unknown, found, strict=True):
                    replies[index] = reply
        return replies

    def _answer(self, future: asyncio.Future[Any] | None, reply: Any) -> None:
        if future is None or future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(RedisUnavailableError(unavailable(self._url, reply, self._seconds)))
        else:
            future.set_result(reply)

    def _refuse(self, batch: Iterable[_Waiting], why: str, *, may_have_run: bool) -> None:
        for command, future in batch:
            if future is None:
                self._backlog.append(repeated(command) if may_have_run else command)
            elif not future.done():
                future.set_exception(RedisUnavailableError(why, may_have_run=may_have_run))

    def _take_backlog(self) -> None:
        while self._backlog:
            self._waiting.append((self._backlog.popleft(), None))
