"""Files of JSON lines that survive the end of the process: the journal of a chunk, and the manifest.

Each line is appended with one `write`, and starts with its line break: a line that was cut off stays alone, and is
ignored. A JSON object that was cut off is no JSON, so it cannot be taken for another one.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


class LinesFile:
    """A file to which lines are appended.

    Args:
        path: The file; it is created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, _FLAGS, 0o666)
        self._closing = threading.Lock()

    def append(self, found: dict[str, Any]) -> None:
        """Append a line.

        Raises:
            OSError: It could not be written, or only a part of it.
        """
        line = b"\n" + orjson.dumps(found)
        if os.write(self._descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        """Force the lines to the disk, so that they survive a power failure. Does nothing to a file that is closed."""
        with self._closing:
            if self._descriptor >= 0:
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file. Does nothing the second time."""
        with self._closing:
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
