"""One core for the client and one for the server, so that neither takes the other's time."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

CLIENT, SERVER = 0, 1


def pin(core: int) -> None:
    """Keep this process (and those it starts) on `core`, where the system can do that and has two."""
    if sys.platform == "linux" and (os.cpu_count() or 1) > 1:
        with suppress(OSError):  # the container may not use that core
            os.sched_setaffinity(0, {core})


def unpin() -> None:
    """Let this thread, and those that it starts, run on any core again: for work that is off the path of a call."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
