"""The journal: files in a folder, to which rows are written before they are in the database.

What has been written to a file survives the process. A file, here a segment, belongs to the process that holds a lock
on it, and is deleted when its rows are in the database; one that nobody holds is of a process that was killed.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
_ENDING = ".jsonl"
_NAME = re.compile(rf"[0-9a-f]{{16}}-[0-9]+{re.escape(_ENDING)}")
"""Of a segment; what else is in the folder is somebody else's."""
_CLOSED = -1


class Segment:
    """One file of the journal, open and held by this process.

    Attributes:
        path: Where it is.
        new: Whether it was made here.
    """

    def __init__(self, path: Path, descriptor: int, *, new: bool) -> None:
        self.path = path
        self.new = new
        self._descriptor = descriptor

    def write(self, lines: bytes) -> None:
        """Append lines at once.

        Raises:
            OSError: They could not be written, or not all of them.
        """
        if os.write(self._descriptor, lines) != len(lines):
            raise OSError("the disk is full")

    def batches(self, size: int) -> Iterator[list[bytes]]:
        """The lines, `size` at a time."""
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            while batch := list(islice(file, size)):
                yield [line for line in batch if line != b"\n"]

    def is_empty(self) -> bool:
        """Whether nothing was ever written to it."""
        return os.fstat(self._descriptor).st_size == 0

    def close(self) -> None:
        """Give the file up, for others to find; once is enough."""
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:  # a fork at this moment leaves it open in the child, where it does no harm
            os.close(descriptor)

    def delete(self) -> None:
        """Give the file up, and delete it."""
        if sys.platform == "win32":  # deletes nothing that is open; elsewhere nobody may take it between the two
            self.close()
        with suppress(OSError):  # somebody else reads it now, and deletes it then
            self.path.unlink()
        self.close()


class Journal:
    """The segments in a folder.

    Args:
        folder: Where they are; it is made where there is none.
        prefix: Of the names of those that are made here, 16 hexadecimal digits: nobody else's names have it.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._numbers = itertools.count()
        self._left: set[str] = set()
        self._looked = False

    def segment(self) -> Segment:
        """A new segment.

        Raises:
            OSError: It, or the folder, cannot be made.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = self._folder / f"{self._prefix}-{next(self._numbers)}{_ENDING}"
            if segment := _opened(path, _FLAGS | os.O_CREAT | os.O_EXCL):
                return segment  # any other was taken for an orphan before it was held

    def orphans(self) -> Iterator[Segment]:
        """Segments that nobody holds, one at a time; on Windows, where nobody can tell, only the first time."""
        if self._looked:
            return
        names: list[str] = []
        with suppress(OSError):  # there is no folder now, or one that cannot be listed
            names = os.listdir(self._folder)  # noqa: PTH208  a third of the time
        for name in sorted(name for name in names if _NAME.fullmatch(name) and name not in self._left):
            segment = None
            with suppress(OSError):  # deleted meanwhile, or another user's
                segment = _opened(self._folder / name, _FLAGS)
            if segment is not None:
                yield segment
        self._looked = sys.platform == "win32"

    def leave(self, segment: Segment) -> None:
        """Give up a file in which there is nothing of ours, and do not look at it again."""
        self._left.add(segment.path.name)
        segment.close()


def _opened(path: Path, flags: int) -> Segment | None:
    """The file, if nobody else holds it."""
    descriptor = os.open(path, flags, 0o600)
    try:
        held = _held(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    if held:
        return Segment(path, descriptor, new=bool(flags & os.O_CREAT))
    os.close(descriptor)
    return None


def _held(descriptor: int) -> bool:
    """Hold a file, unless somebody else does, or has deleted it.

    Windows has no such lock and needs none: what another process has open cannot be deleted there, and rows that are
    read twice are kept once.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0
