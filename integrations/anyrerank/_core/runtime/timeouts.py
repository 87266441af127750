"""Short waits: `asyncio.timeout`, which Python 3.10 lacks, and the error for a deadline that has passed."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from anyrerank._core.runtime.deadline import Deadline
from anyrerank.errors import APITimeoutError

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

__all__ = ["finished_within", "timed_out", "timeout"]

_STEPS = 10


def timed_out(deadline: Deadline, problem: str, url: str | None = None) -> APITimeoutError:
    """The error for something that did not finish before `deadline`."""
    return APITimeoutError(f"timed out after {deadline.timeout:g} s: {problem}", url=url)


async def finished_within(seconds: float, future: asyncio.Future[Any]) -> bool:
    """Wait for `future`; returns whether it is done.

    A time in which the event loop was held up counts as a tenth of `seconds` at most: what arrived meanwhile is not
    late.
    """
    for _ in range(_STEPS):
        if future.done():
            break
        await asyncio.wait((future,), timeout=seconds / _STEPS)
    return future.done()
