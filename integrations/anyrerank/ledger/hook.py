"""`Ledger`: a hook that writes down what calls cost, off the path of the calls."""

from __future__ import annotations

import atexit
import hashlib
import itertools
import logging
import os
import secrets
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

from typing_extensions import Self

from anyrerank._core.runtime import checked_path, is_number
from anyrerank._core.types import public
from anyrerank.errors import ConfigurationError
from anyrerank.hooks import CallEvent
from anyrerank.ledger.journal import Journal, Segment
from anyrerank.ledger.rows import line_of, rows_in
from anyrerank.ledger.store import By, Filter, LedgerError, Spend, Store, checked

_log = logging.getLogger("anyrerank")

_LONGEST_WAIT = 60.0
_BATCH = 1_000


@public("anyrerank.ledger")
class Ledger:
    """A hook that records what was spent, by end user, model, deployment, tag and day.

        Reranker("cohere/rerank-v3.5", hooks=[Ledger("spend.db")])

    A call is safe once the hook has returned: it is in the journal then, and a moment later in the database. A process
    that is killed loses nothing: the next ledger with the same journal writes what was left there, once. While the
    database is out of reach, rows wait in the journal. Tags are the strings in `metadata["tags"]`; nothing else of the
    metadata, no query and no document is kept.

    Safe for threads, for several processes on one database, and across `fork`; `pickle` and `deepcopy` open the same
    database anew. A context manager; a normal exit of the process closes it, too.

    Args:
        url: Path of an SQLite file, which is made where there is none, or a URL of SQLAlchemy's, such as
            `postgresql+psycopg://user:password@host/name`. A `pickle` holds it with its password; errors, logs and
            `repr` do not.
        journal: Folder of the journal, on a disk of this machine. By default beside the SQLite file, with
            `-journal.d` after its name; for a URL a folder of its own in the user's state directory
            (`~/.local/state/anyrerank`, `~/Library/Application Support/anyrerank` or `%LOCALAPPDATA%/anyrerank`).
        interval: Seconds between two writes to the database.
        patience: Seconds to wait for somebody else who writes to the same SQLite file.

    Raises:
        ConfigurationError: Database or journal cannot be opened and written, are none, or are of another version; or
            `interval` or `patience` is no such number.
    """

    def __init__(
        self,
        url: str | os.PathLike[str] = "spend.db",
        *,
        journal: str | os.PathLike[str] | None = None,
        interval: float = 1.0,
        patience: float = 5.0,
    ) -> None:
        if not (is_number(interval) and interval > 0):
            raise ConfigurationError("interval, of a ledger, is a number of seconds above 0")
        named = None if journal is None else os.path.abspath(checked_path(journal, "the journal of a ledger"))  # noqa: PTH100
        self._store = Store(url, create=True, patience=patience)
        self._folder = _default_folder(self._store) if named is None else Path(named)
        self._url = str(self._store.file or url)
        self._interval = min(interval, threading.TIMEOUT_MAX)
        self._patience = patience
        self._begin()
        try:
            self._journal.segment().delete()
        except OSError as error:
            raise ConfigurationError(
                f"the journal {self._folder} cannot be written: {error.strerror}; journal= names another folder"
            ) from None
        if not self._try_to_write():
            self._start()
        _ledgers.add(self)

    def _begin(self) -> None:
        """Start with nothing, as a new ledger does, and a child process that must not touch what is its parent's."""
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._journal = Journal(self._folder, self._prefix)
        self._current: Segment | None = None
        self._full: Segment | None = None
        self._in_memory: list[bytes] = []
        self._warned: set[str] = set()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._ending = threading.RLock()
        self._writing = threading.RLock()
        self._handing_over = threading.RLock()

    def __call__(self, event: CallEvent) -> None:
        """Keep what a call cost."""
        line = line_of(event, f"{self._prefix}-{next(self._numbers):x}")
        if not line:
            return
        with self._handing_over:
            try:
                if self._current is None:
                    self._current = self._journal.segment()
                self._current.write(line)
            except OSError as error:
                self._in_memory.append(line)
                self._warn(
                    "journal", f"the journal {self._folder} cannot be written ({error}): rows are kept in memory"
                )
            if self._thread is None:
                self._start()

    def spend(
        self,
        by: By | Sequence[By] = ("user", "model"),
        *,
        since: date | None = None,
        until: date | None = None,
        user: str | None = None,
        tag: str | None = None,
        model: str | None = None,
    ) -> list[Spend]:
        """What was spent, the most expensive group first; what is on its way to the database is written first.

        Args:
            by: What to group by; nothing for all together.
            since: The first day (of UTC), or a `datetime` with a time zone.
            until: The last day, or the moment before which.
            user, tag, model: Only calls with these; `model` is what was asked: a router's group or `provider/model`.

        Raises:
            BadRequestError: Something to group by that does not exist, a time without its zone, or no string.
            LedgerError: The database cannot be written or read.
        """
        names, which = checked(by), Filter(since=since, until=until, user=user, tag=tag, model=model)
        self.flush()
        return self._store.spend(names, which)

    def total(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        user: str | None = None,
        tag: str | None = None,
        model: str | None = None,
    ) -> float:
        """US dollars that are known to have been spent; arguments and errors are those of `spend`."""
        which = Filter(since=since, until=until, user=user, tag=tag, model=model)
        self.flush()
        return self._store.total(which)

    def flush(self) -> None:
        """Return when what was handed over so far is in the database.

        Raises:
            LedgerError: The database cannot be written; the rows stay in the journal, and are tried again.
        """
        with self._writing:
            try:
                with self._handing_over:
                    self._save()
                self._write()
                with self._handing_over:
                    self._full, self._current = self._current, None
                    in_memory = tuple(self._in_memory)
                self._write()
                if in_memory:
                    self._store.add([rows_in(b"".join(in_memory).splitlines()[1:])])
                    with self._handing_over:
                        del self._in_memory[: len(in_memory)]
                for orphan in self._journal.orphans():
                    self._full = orphan
                    self._write()
            except OSError as error:
                raise LedgerError(f"the journal {self._folder} cannot be read: {error.strerror}") from None
            self._warned.clear()

    def _write(self) -> None:
        """Write the segment that is full; while the database does not take it, no other is kept open beside it."""
        if (segment := self._full) is None:
            return
        if self._store.add(map(rows_in, segment.batches(_BATCH))) or segment.new or segment.is_empty():
            segment.delete()
        else:
            self._journal.leave(segment)
        self._full = None

    def _save(self) -> None:
        """Let the journal have what is in memory alone."""
        if not self._in_memory:
            return
        with suppress(OSError):
            if self._current is None:
                self._current = self._journal.segment()
            self._current.write(b"".join(self._in_memory))
            self._in_memory.clear()

    def close(self) -> None:
        """Write what is left and let go of the database; rows that it does not take stay in the journal."""
        with self._ending:
            self._closing.set()
            with self._handing_over:  # or it is not started yet
                thread = self._thread
            if thread is not None:
                thread.join()
            written = self._try_to_write()
            with self._writing, self._handing_over:
                if written:  # and what was handed over since then
                    self._try_to_write()
                self._give_up()
                self._thread = None
                self._closing.clear()
            self._store.close()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="anyrerank-ledger", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending: the journal keeps the rows
            self._thread = None

    def _work(self) -> None:
        """Write again and again until nothing is left; the next call starts another thread."""
        wait = self._interval
        while not self._closing.wait(wait):
            written = self._try_to_write()
            wait = self._interval if written else min(2 * wait, _LONGEST_WAIT)
            with self._handing_over:
                if written and not (self._current or self._in_memory):
                    self._thread = None
                    return

    def _try_to_write(self) -> bool:
        try:
            self.flush()
        except LedgerError as error:
            self._warn("database", f"{error.message}; rows wait in the journal {self._folder}")
            return False
        except Exception as error:  # noqa: BLE001  whatever it is: nobody else writes what the next calls hand over
            problem = f"the ledger {self._store} cannot be written: {type(error).__name__}"
            self._warn("database", f"{problem}; rows wait in the journal {self._folder}")
            return False
        return True

    def _warn(self, about: str, message: str) -> None:
        """Say once what is wrong, until all is well again."""
        if about not in self._warned:
            self._warned.add(about)
            with suppress(Exception):  # a filter of the application's may raise what it likes
                _log.warning(message)

    def _give_up(self) -> None:
        """Leave what is in the journal to others."""
        for segment in (self._full, self._current):
            if segment is not None:
                segment.close()
        self._full = self._current = None

    def _after_fork(self) -> None:
        self._give_up()
        self._store.close(inherited=True)
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        again = partial(Ledger, journal=self._folder, interval=self._interval, patience=self._patience)
        return (again, (self._url,))

    def __repr__(self) -> str:
        return f"Ledger({str(self._store)!r})"


def _default_folder(store: Store) -> Path:
    if store.file is not None:
        return store.file.with_name(f"{store.file.name}-journal.d")
    # with *** for a password, which may change, and is nothing to derive a name from
    name = hashlib.sha256(store.url.render_as_string(hide_password=True).encode()).hexdigest()[:16]
    try:
        return _state_folder() / "anyrerank" / f"ledger-{name}"
    except RuntimeError:
        raise ConfigurationError("there is no home directory for the journal: name a folder with journal=") from None


def _state_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


_ledgers: WeakSet[Ledger] = WeakSet()


@atexit.register
def _close_all() -> None:
    for ledger in list(_ledgers):
        try:
            ledger.close()
        except Exception as error:  # noqa: BLE001  the others are still to be closed
            _log.warning("%r could not be closed: %s", ledger, type(error).__name__)


def _after_fork() -> None:
    for ledger in list(_ledgers):
        ledger._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
