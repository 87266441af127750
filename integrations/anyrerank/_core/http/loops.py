"""What ends with an event loop."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol


class Closable(Protocol):
    """Something with an asynchronous `close`."""

    async def close(self) -> None:
        """Close it; closing twice does no harm."""


@dataclass(frozen=True, slots=True)
class _Ending:
    keeper: AsyncGenerator[None, None]
    closables: weakref.WeakSet[Closable] = field(default_factory=weakref.WeakSet)


_LOCK = threading.Lock()
_ENDINGS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Ending] = weakref.WeakKeyDictionary()


async def closed_with_loop(closable: Closable) -> None:
    """Let `closable` be closed when the running loop ends, if it still exists then.

    A loop says that it ends by shutting its asynchronous generators down, as `asyncio.run` does.
    """
    loop = asyncio.get_running_loop()
    ending = _ENDINGS.get(loop)
    if ending is None:
        closables: weakref.WeakSet[Closable] = weakref.WeakSet()
        ending = _Ending(_until_shutdown(closables), closables)
        with _LOCK:
            for closed in [other for other in _ENDINGS if other.is_closed()]:
                del _ENDINGS[closed]
            _ENDINGS[loop] = ending
        await ending.keeper.__anext__()
    ending.closables.add(closable)


async def _until_shutdown(closables: weakref.WeakSet[Closable]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        with _LOCK:
            _ENDINGS.pop(asyncio.get_running_loop(), None)
        for closable in list(closables):
            await closable.close()
