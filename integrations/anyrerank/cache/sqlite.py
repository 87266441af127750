"""`SQLiteCache`: a cache in an SQLite file that several processes share."""

from __future__ import annotations

import math
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from anyrerank._core.runtime import ForkLock, checked_path
from anyrerank._core.types import public
from anyrerank.cache.base import Cache, checked_bytes, checked_ttl
from anyrerank.errors import ConfigurationError

_APPLICATION = 0x61795273  # "ayRs"
_VERSION = 1
_BUSY = 1.0
_CHUNK = 500  # older versions of SQLite take at most 999 parameters
_EXPIRED_AT_ONCE = 1000  # so that no call waits for the removal of millions

# `number` grows with every row: the lowest one is the oldest
_CREATE = (
    "CREATE TABLE scores (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL, written REAL)"
)
_OLDEST = "(SELECT min(number) FROM scores)"
_NEWEST = "(SELECT max(number) FROM scores)"
_REMOVE_EXPIRED = f"DELETE FROM scores WHERE number < {_OLDEST} + {_EXPIRED_AT_ONCE} AND written <= ?"  # noqa: S608
_REMOVE_OLDEST = f"DELETE FROM scores WHERE number <= {_OLDEST} + min(99, ({_NEWEST} - {_OLDEST}) / 8)"  # noqa: S608


@public("anyrerank.cache")
class SQLiteCache(Cache):
    """Stores values in a file on a local disk, for any number of threads and processes.

    A full file loses its oldest entries, even if they are used: so reading never writes, and no process waits for
    another one that reads. A pickle or a copy opens the same file.

    All threads share one connection: a look-up takes less than a millisecond, and a connection per thread would stay
    open as long as the thread lives. It is closed before the process forks, and opened again on both sides, because
    SQLite's locks do not survive a fork.

    Args:
        path: The file, in an existing folder; it is created if it does not exist.
        ttl: Seconds until an entry expires, or `None` for no limit.
        max_bytes: Maximum size of the file; below about 20 kB it stores nothing. While it is open, SQLite needs a few
            MB more for a file whose name ends in `-wal`.
        clock: Returns the seconds since the epoch. After it was set back, entries of the future are ignored.

    Raises:
        ConfigurationError: `max_bytes` or `ttl` is invalid; or the file cannot be opened and written, is not a
            database, or belongs to another program or version: such a file is left unchanged.
    """

    blocking = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        ttl: float | None = 7 * 86400.0,
        max_bytes: int = 2**30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        named = checked_path(path, "the path of a SQLiteCache")
        if named == ":memory:":
            raise ConfigurationError("a SQLiteCache needs a file: for a cache in memory, use MemoryCache")
        self.path = Path(named).absolute()
        self.ttl = checked_ttl(ttl)
        self.max_bytes = checked_bytes(max_bytes)
        self._clock = clock
        self._closed = False
        self._open: list[sqlite3.Connection] = []  # empty before the first use and after a fork
        self._lock = ForkLock(partial(_close, self._open))
        weakref.finalize(self, _finish, self._lock, self._open)
        with self._lock:
            self._connection()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those `keys` that are cached and not expired."""
        now = self._clock()
        span = (-math.inf, math.inf) if self.ttl is None else (now - self.ttl, now)
        found: dict[bytes, bytes] = {}
        with self._lock:
            connection = self._connection()
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                found.update(
                    connection.execute(
                        f"SELECT key, value FROM scores WHERE key IN ({marks}) AND written > ? AND written <= ?",  # noqa: S608  question marks
                        (*chunk, *span),
                    )
                )
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store `entries` by key, in one transaction.

        Raises:
            sqlite3.OperationalError: Another process was writing for more than a second, or the disk is full.
        """
        now = self._clock()
        with self._lock, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if self.ttl is not None:
                connection.execute(_REMOVE_EXPIRED, (now - self.ttl,))
            connection.executemany("DELETE FROM scores WHERE key = ?", ((key,) for key in entries))
            connection.executemany(
                "INSERT INTO scores (key, value, written) VALUES (?, ?, ?)",
                ((key, value, now) for key, value in entries.items() if len(value) < self.max_bytes),
            )
            while _size(connection) > self.max_bytes and connection.execute(_REMOVE_OLDEST).rowcount:
                pass

    def clear(self) -> None:
        """Remove all entries, and free their space on the disk."""
        with self._lock:
            connection = self._connection()
            connection.execute("DELETE FROM scores")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; a cache that is collected, or still open when Python exits, closes by itself."""
        with self._lock:
            self._closed = True
            _close(self._open)

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise ConfigurationError(f"the cache {self.path} is closed: make a new SQLiteCache")
        if not self._open:
            self._open.append(_connected(self.path))
        return self._open[0]

    def __repr__(self) -> str:
        return f"SQLiteCache({str(self.path)!r}, ttl={self.ttl}, max_bytes={self.max_bytes})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (partial(type(self), self.path, ttl=self.ttl, max_bytes=self.max_bytes, clock=self._clock), ())


def _close(connections: list[sqlite3.Connection]) -> None:
    while connections:
        with suppress(sqlite3.Error):  # what was committed is safe
            connections.pop().close()


def _finish(lock: ForkLock, connections: list[sqlite3.Connection]) -> None:
    # Waiting for the lock could take forever. If it is held, a fork is closing the connection, or a daemon thread uses
    # it at the exit of the process: SQLite recovers from that when the file is opened next.
    if lock.acquire(blocking=False):
        _close(connections)
        lock.release()


def _size(connection: sqlite3.Connection) -> int:
    pages, free, each = (_pragma(connection, name) for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * each


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _connected(path: Path) -> sqlite3.Connection:
    end = time.monotonic() + _BUSY
    while True:
        try:
            return _attempted(path)
        except sqlite3.OperationalError as error:
            # SQLite does not wait for another process that is switching the file to WAL
            if "locked" in str(error) and time.monotonic() < end:
                time.sleep(0.01)
                continue
            raise ConfigurationError(f"the cache {path} cannot be opened: {_reason(path, error)}") from None
        except sqlite3.DatabaseError:
            raise ConfigurationError(
                f"the cache {path} is not an SQLite database, or damaged: pass another file, or remove this one if it "
                "was a cache"
            ) from None


def _reason(path: Path, error: sqlite3.OperationalError) -> str:
    if path.is_dir():
        return "it is a folder; pass a file"
    if not path.parent.is_dir():
        return "its folder does not exist; create it first"
    if "locked" in str(error):
        return "another process has locked it; stop that process, or pass another file"
    return f"{error}; the file and its folder must be writable, and on a local disk"


def _attempted(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the table in an empty file, and refuse the file of another program."""
    if _pragma(connection, "page_count") == 0:
        connection.execute("PRAGMA auto_vacuum = FULL")  # the file shrinks with its entries; works for empty files only
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version, tables) == (0, 0, 0):
            connection.execute(_CREATE)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        elif application != _APPLICATION:
            raise ConfigurationError(f"the file {path} is the database of another program: pass another file")
        elif version != _VERSION:
            raise ConfigurationError(
                f"the cache {path} was written by another version of anyrerank (format {version}, expected "
                f"{_VERSION}): pass another file, or remove this one"
            )
        connection.execute(f"PRAGMA user_version = {_VERSION}")  # unlike BEGIN, fails if the file is read-only
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
