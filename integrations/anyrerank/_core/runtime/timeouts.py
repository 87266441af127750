"""`asyncio.timeout`, which Python 3.10 lacks, and the error for a deadline that has passed."""

from __future__ import annotations

import sys

from anyrerank._core.runtime.deadline import Deadline
from anyrerank.errors import APITimeoutError

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

__all__ = ["timed_out", "timeout"]


def timed_out(deadline: Deadline, problem: str, url: str | None = None) -> APITimeoutError:
    """The error for something that did not finish before `deadline`."""
    return APITimeoutError(f"timed out after {deadline.timeout:g} s: {problem}", url=url)
