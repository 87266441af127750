"""Files of JSON lines that survive the end of the process: the journal of a chunk, and the manifest.

Each line is appended with one `write`, and starts with its line break: a line that was cut off stays alone, and is
ignored. A JSON object that was cut off is no JSON, so it cannot be taken for another one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


class LinesFile:
    """A file to which lines are appended.

    Args:
        path: The file; it is created if it does not exist.
        sync_every: Number of lines after which they are forced to the disk.
    """

    def __init__(self, path: Path, sync_every: int = 1) -> None:
        self.path = path
        self._sync_every = sync_every
        self._unsynced = 0
        self._descriptor = os.open(path, _FLAGS, 0o666)

    def append(self, found: dict[str, Any]) -> None:
        """Append a line.

        Raises:
            OSError: It could not be written, or only a part of it.
        """
        line = b"\n" + orjson.dumps(found)
        if os.write(self._descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._unsynced += 1
        if self._unsynced >= self._sync_every:
            os.fsync(self._descriptor)
            self._unsynced = 0

    def close(self) -> None:
        """Close the file. Does nothing the second time."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file, in order; none if there is no file."""
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return
    with file:
        for line in file:
            try:
                found = orjson.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found
