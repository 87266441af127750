"""One core for the client and one for the server, so that neither takes the other's time."""

from __future__ import annotations

import os
import sys

CLIENT, SERVER = 0, 1


def pin(place: int) -> None:
    """Keep this process (and those it starts) on its core, where the system can do that and has two."""
    if sys.platform == "linux":
        cores = sorted(range(os.cpu_count() or 1))
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[place]})
