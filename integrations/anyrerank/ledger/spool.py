"""The spool: a folder of files with the calls that are not in the database yet.

A call is one line, appended with a single `write`, so it survives the end of the process. A commit to an SQLite file
would survive it as well, but takes several times as long, on the path of every call.

A process locks the file that it appends to. A file without a lock was left by a process that ended, or that could not
reach the database: the next process that finds it copies it to the database and deletes it.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_SUFFIX = ".anyrerank-spool-v1"
_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
_CLOSED = -1


class SpoolFile:
    """A file of the spool that this process has locked."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def append(self, line: bytes) -> None:
        """Append a line, which starts with its line break.

        Raises:
            OSError: The line could not be written, or only a part of it.
        """
        if os.write(self._descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Each line with a key, which no other line has and which is the same whenever the file is read."""
        prefix = self.path.name.removesuffix(_SUFFIX)
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            for number, line in enumerate(file):
                yield f"{prefix}-{number:x}", line

    def close(self) -> None:
        """Close and unlock the file, so that others find it. Does nothing the second time."""
        # Reset first: if the process is forked in between, the child must not close a descriptor that it has reused.
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)

    def delete(self) -> None:
        """Close and delete the file.

        Another process may lock and read it before it is gone. That does no harm: the database takes each key once.
        """
        self.close()
        with suppress(OSError):  # on Windows, when another process has it open: that one deletes it
            self.path.unlink(missing_ok=True)


class Spool:
    """A folder of spool files.

    Args:
        folder: Created when the first file is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self) -> SpoolFile:
        """A new file.

        Raises:
            OSError: The folder or the file cannot be created.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{secrets.token_hex(8)}{_SUFFIX}"
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        _lock(descriptor)  # before the first line: no other process opens an empty file
        return SpoolFile(path, descriptor)

    def abandoned(self) -> Iterator[SpoolFile]:
        """The files that no process has locked, one at a time; each must be closed or deleted."""
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            if file := _locked(path):
                yield file

    def size(self) -> int:
        """Bytes of all its files."""
        return sum(map(_size, self.folder.glob(f"*{_SUFFIX}")))


def _size(path: Path) -> int:
    """Bytes of a file; 0 if it was deleted meanwhile."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _locked(path: Path) -> SpoolFile | None:
    """The file, unless it is empty, locked by another process, deleted meanwhile, or of another user."""
    with suppress(OSError):
        if path.stat().st_size:
            file = SpoolFile(path, descriptor := os.open(path, _FLAGS))
            try:
                _lock(descriptor)
            except OSError:
                file.close()
                raise
            return file
    return None


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 2**30, os.SEEK_SET)  # beyond the lines: a locked byte cannot be read by others
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:

    def _lock(descriptor: int) -> None:
        """Lock a file until it is closed, or the process ends.

        Raises:
            OSError: Another process has locked it, or the file system has no locks.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
