"""Commands to Redis on one event loop, gathered into pipelines."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
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

_LARGEST_PIPELINE = 256
_PAUSE = 0.25
"""Seconds between two attempts to reach a server that does not answer."""

_Waiting: TypeAlias = tuple[Command, asyncio.Future[Any] | None]


class LoopLink:
    """Sends the commands that are given while a pipeline is under way together, with the next pipeline.

    Args:
        url: Of the server.
        seconds: How long a pipeline may take.
        backlog: Gets the commands that no caller waits for, and that could not be sent.
    """

    def __init__(self, url: str, seconds: float, backlog: deque[Command]) -> None:
        self._url = url
        self._seconds = seconds
        self._backlog = backlog
        self._client = async_client(url)
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._away: RedisUnavailableError | None = None
        self._is_registered = False

    async def call(self, command: Command) -> Any:
        """The reply to a command.

        Raises:
            RedisUnavailableError: There is none.
        """
        if self._away is not None:
            raise RedisUnavailableError(str(self._away))
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._enqueue(command, reply)
        return await reply

    def post(self, command: Command) -> None:
        """Send a command whose reply does not matter; later, if the server is away."""
        if self._away is None:
            self._enqueue(command, None)
        else:
            self._backlog.append(command)

    async def close(self) -> None:
        """Send what is left, unless the server is away, and close the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        if self._away is None and (self._waiting or self._backlog):
            self._take_backlog()
            await self._send_waiting()
        await self._client.aclose()

    def _enqueue(self, command: Command, reply: asyncio.Future[Any] | None) -> None:
        self._waiting.append((command, reply))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        if not self._is_registered:
            self._is_registered = True
            await closed_with_loop(self)
            await self._connect()
        while self._waiting:
            await self._send_waiting()
            if self._away is not None:
                await self._come_back()

    async def _connect(self) -> None:
        """Make the first connection, which may take longer than a command."""
        with suppress(*failures()):
            async with timeout(CONNECT_SECONDS):
                await self._client.ping()

    async def _send_waiting(self) -> None:
        """Send one pipeline."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _LARGEST_PIPELINE))]
        try:
            async with timeout(self._seconds):
                replies = await self._replies([command for command, _ in batch])
        except failures() as error:
            self._away = unavailable(self._url, error, self._seconds)
            self._refuse((*batch, *self._waiting), self._away)
            self._waiting.clear()
        except asyncio.CancelledError:  # the loop ends
            self._refuse(batch, RedisUnavailableError("the event loop ended"))
            raise
        else:
            for (_, future), reply in zip(batch, replies, strict=True):
                self._answer(future, reply)

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
            future.set_exception(unavailable(self._url, reply, self._seconds))
        else:
            future.set_result(reply)

    def _refuse(self, batch: Sequence[_Waiting], error: RedisUnavailableError) -> None:
        for command, future in batch:
            if future is None:
                self._backlog.append(repeated(command))
            elif not future.done():
                future.set_exception(RedisUnavailableError(str(error)))

    async def _come_back(self) -> None:
        """Wait until the server answers."""
        while self._away is not None:
            try:
                async with timeout(CONNECT_SECONDS):
                    await self._client.ping()
            except failures():
                await asyncio.sleep(_PAUSE)
            else:
                self._away = None
        self._take_backlog()

    def _take_backlog(self) -> None:
        while self._backlog:
            self._waiting.append((self._backlog.popleft(), None))
