"""Timeouts on an event loop."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout  # the same, for Python 3.10

__all__ = ["finished_within", "timeout"]

_STEPS = 10


async def finished_within(seconds: float, future: asyncio.Future[Any]) -> bool:
    """Wait for `future`; returns whether it is done.

    Time during which the event loop was blocked counts as a tenth of `seconds` at most: what arrived meanwhile is not
    late.
    """
    for _ in range(_STEPS):
        if future.done():
            break
        await asyncio.wait((future,), timeout=seconds / _STEPS)
    return future.done()
