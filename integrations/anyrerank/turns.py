"""Short turns of an event loop: many calls that get on at once share several, and hold up nothing else for long."""

from __future__ import annotations

import asyncio
import time
from weakref import WeakKeyDictionary

_LONG = 0.008
"""Seconds. Another task may have to wait for three such turns: one until its timer is seen, two until it runs."""

_BEGAN: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()
"""When work of ours began in the turn that is under way: one pass of a loop over all that is ready."""


async def short_turn() -> None:
    """Go on in this turn of the running loop, or in a later one when there was much work of ours in this one."""
    while _is_long(asyncio.get_running_loop()):  # noqa: ASYNC110  a turn is over when it is, and tells nobody
        await asyncio.sleep(0)


def _is_long(loop: asyncio.AbstractEventLoop) -> bool:
    began = _BEGAN.get(loop)
    if began is not None:
        return time.monotonic() - began > _LONG
    _BEGAN[loop] = time.monotonic()
    loop.call_soon(_BEGAN.pop, loop, None)
    return False
