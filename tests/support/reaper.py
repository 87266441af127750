"""Ends a server whose test run was killed: `python reaper.py PID FOLDER`.

It waits until the other end of its input is closed, which the end of the test run does in any case.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from pathlib import Path


def main(pid: int, folder: Path) -> None:
    sys.stdin.read()
    import psutil

    with suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        server.suspend()  # or it would start others in place of those that are killed first
        for process in (*server.children(recursive=True), server):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
