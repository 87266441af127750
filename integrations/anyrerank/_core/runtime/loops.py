"""Closing clients of an event loop when the loop ends."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from anyrerank._core.runtime.forks import reset_in_child


class Closable(Protocol):
    """Something with an asynchronous `close`."""

    async def close(self) -> None:
        """Close it; closing it twice is harmless."""


@dataclass(frozen=True, slots=True)
class _AtEnd:
    watcher: AsyncGenerator[None, None]
    closables: weakref.WeakSet[Closable] = field(default_factory=weakref.WeakSet)


class _Endings:
    """What to close at the end of each loop."""

    def __init__(self) -> None:
        self._reset()
        reset_in_child(self, _Endings._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _AtEnd] = weakref.WeakKeyDictionary()

    def get(self, loop: asyncio.AbstractEventLoop) -> _AtEnd | None:
        return self._by_loop.get(loop)

    def add(self, loop: asyncio.AbstractEventLoop, at_end: _AtEnd) -> None:
        with self._lock:
            for closed in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[closed]
            self._by_loop[loop] = at_end

    def remove(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._by_loop.pop(loop, None)


_endings = _Endings()


async def closed_with_loop(closable: Closable) -> None:
    """Close `closable` when the running loop ends, if it still exists then.

    A loop that ends shuts down its asynchronous generators, as `asyncio.run` does: one of ours waits for that.
    """
    loop = asyncio.get_running_loop()
    at_end = _endings.get(loop)
    if at_end is None:
        closables: weakref.WeakSet[Closable] = weakref.WeakSet()
        at_end = _AtEnd(_until_shutdown(closables), closables)
        _endings.add(loop, at_end)
        await at_end.watcher.__anext__()
    at_end.closables.add(closable)


async def _until_shutdown(closables: weakref.WeakSet[Closable]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        _endings.remove(asyncio.get_running_loop())
        for closable in list(closables):
            await closable.close()
