"""`Copier`: a thread that copies calls from the spool to the database."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from anyrerank.ledger.rows import Entry, entry_of
from anyrerank.ledger.spool import Spool, SpoolFile
from anyrerank.ledger.store import LedgerError, Store

_log = logging.getLogger("anyrerank")

_BATCH = 1_000
_LONGEST_WAIT = 60.0
_MAX_UNWRITTEN = 50_000
"""Maximum number of lines in memory while the spool cannot be written; after that, the oldest are lost."""


class Copier:
    """Writes lines to its own spool file, and copies it and the files of processes that ended to the database.

    Args:
        spool: The spool.
        store: The database.
        interval: Seconds between two copies.

    Attributes:
        lost: Number of lines that were lost because the spool could not be written.
    """

    def __init__(self, spool: Spool, store: Store, interval: float) -> None:
        self._spool = spool
        self._store = store
        self._interval = min(interval, threading.TIMEOUT_MAX)
        self._file: SpoolFile | None = None
        self.lost = 0
        self._unwritten: deque[bytes] = deque()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()  # file, lines that are not in it, and thread
        self._copying = threading.RLock()  # not held by a call
        self._failing = False

    def add(self, line: bytes) -> None:
        """Write a line to the spool.

        Raises:
            OSError: The spool cannot be written. The line stays in memory, and is tried again.
        """
        with self._lock:
            self._unwritten.append(line)
            try:
                self._write()
            finally:
                if len(self._unwritten) > _MAX_UNWRITTEN:
                    self._unwritten.popleft()
                    self.lost += 1
                if self._thread is None:
                    self._start()

    def waiting(self) -> int:
        """Bytes of the lines that are not in the database yet, with those of other processes that use this spool."""
        with self._lock:
            unwritten = sum(map(len, self._unwritten))
        return unwritten + self._spool.size()

    def flush(self) -> None:
        """Copy everything that was added so far.

        Raises:
            LedgerError: The database cannot be written, or the spool cannot be read.
        """
        with self._copying:
            try:
                for file in self._full():
                    self._copy(file)
            except OSError as error:
                raise LedgerError(f"the spool {self._spool.folder} cannot be read: {error.strerror}") from None
            self._failing = False

    def start(self) -> None:
        """Copy the files of processes that ended; if that fails, try again in the background."""
        if not self._try_to_flush():
            with self._lock:
                self._start()

    def close(self) -> None:
        """End the thread and copy the remaining lines; if the database cannot be written, they stay in the spool."""
        with self._lock:
            thread, self._thread = self._thread, None  # a later call starts another one
            self._stop.set()
        if thread is not None:
            thread.join()
        self._try_to_flush()

    def abandon(self) -> None:
        """Close the spool file, if there is one."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _full(self) -> Iterator[SpoolFile]:
        """The files to copy: first the one of this process, which writes to another one from now on."""
        with self._lock:
            with suppress(OSError):  # copying may free disk space
                self._write()
            file, self._file = self._file, None
        if file is not None:
            yield file
        yield from self._spool.abandoned()

    def _write(self) -> None:
        """Write the lines to the spool that are not there yet."""
        while self._unwritten:
            if self._file is None:
                self._file = self._spool.create()
            self._file.append(self._unwritten[0])
            self._unwritten.popleft()

    def _copy(self, file: SpoolFile) -> None:
        try:
            entries = _entries(file)
            while batch := list(islice(entries, _BATCH)):
                self._store.add(batch)
            file.delete()
        finally:
            file.close()

    def _start(self) -> None:
        self._stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(self._stop,), name="anyrerank-ledger", daemon=True)
        thread.start()
        self._thread = thread

    def _run(self, stop: threading.Event) -> None:
        wait = self._interval
        while not stop.wait(wait):
            copied = self._try_to_flush()
            wait = self._interval if copied else min(2 * wait, _LONGEST_WAIT)
            with self._lock:
                if copied and self._file is None and not self._unwritten:
                    if self._thread is threading.current_thread():
                        self._thread = None
                    return

    def _try_to_flush(self) -> bool:
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001  after any error, the next calls must still be copied
            if not self._failing:
                self._failing = True
                self._warn(error)
            return False
        return True

    def _warn(self, error: Exception) -> None:
        reason = error.message if isinstance(error, LedgerError) else type(error).__name__
        with suppress(Exception):  # a handler or a filter of the application may fail
            _log.warning("%s; calls wait in the spool %s and are tried again", reason, self._spool.folder)


def _entries(file: SpoolFile) -> Iterator[Entry]:
    return (entry for key, line in file.lines() if (entry := entry_of(key, line)) is not None)
