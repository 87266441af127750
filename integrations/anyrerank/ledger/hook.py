"""`Ledger`: a hook that records what calls cost."""

from __future__ import annotations

import atexit
import hashlib
import os
import sys
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa
from typing_extensions import Self

from anyrerank._core.runtime import checked_path, is_number, reset_in_child
from anyrerank._core.types import public
from anyrerank.errors import ConfigurationError
from anyrerank.hooks import CallEvent
from anyrerank.ledger.copier import Copier
from anyrerank.ledger.rows import line_of
from anyrerank.ledger.spending import By, Filter, Spend, checked
from anyrerank.ledger.spool import Spool
from anyrerank.ledger.store import Store


@public("anyrerank.ledger")
class Ledger:
    """A hook that records what was spent, by end user, model, deployment, tag and day.

        Reranker("cohere/rerank-v3.5", hooks=[Ledger("spend.db")])

    When the hook returns, a call is in the spool; after `interval` seconds it is in the database. A process that is
    killed loses no call: the next ledger with the same spool copies the remaining calls, each once. While the database
    cannot be reached, calls stay in the spool. Tags are the strings in `metadata["tags"]`; nothing else of the
    metadata, no query and no document is stored.

    Safe for threads, for several processes with one database, and across `fork`. `pickle` and `deepcopy` open the same
    database again. Use it as a context manager or call `close`; when the process exits normally, it closes by itself.

    Args:
        url: Path of an SQLite file, which is created if it does not exist, or a URL of SQLAlchemy such as
            `postgresql://user:password@host/name`, which psycopg serves. A `pickle` holds the URL with its password;
            errors, logs and `repr` do not.
        spool: Folder of the spool, on a disk of this machine. The default for an SQLite file is a folder next to it,
            with `-spool` after its name; for a URL, a folder in the user's state directory
            (`~/.local/state/anyrerank`, `~/Library/Application Support/anyrerank` or `%LOCALAPPDATA%/anyrerank`).
        interval: Seconds between two writes to the database.
        lock_timeout: Seconds to wait while another process has the SQLite file locked. No call waits for it.

    Raises:
        ConfigurationError: The database or the spool cannot be opened and written, the database has another version,
            or an argument is invalid.
    """

    def __init__(
        self,
        url: str | os.PathLike[str] = "spend.db",
        *,
        spool: str | os.PathLike[str] | None = None,
        interval: float = 1.0,
        lock_timeout: float = 5.0,
    ) -> None:
        if not (is_number(interval) and interval > 0):
            raise ConfigurationError(f"interval must be a positive number of seconds, got {interval!r}")
        folder = None if spool is None else Path(checked_path(spool, "the spool of a ledger")).absolute()
        self._store = Store(url, create=True, lock_timeout=lock_timeout)
        self._spool = Spool(folder or _default_folder(self._store.url, self._store.file))
        self._interval = interval
        self._lock_timeout = lock_timeout
        self._url = str(self._store.file or url)
        try:
            self._spool.create().delete()
        except OSError as error:
            raise ConfigurationError(
                f"the spool {self._spool.folder} cannot be written: {error.strerror}; choose another folder with spool="
            ) from None
        self._copier = Copier(self._spool, self._store, interval)
        self._copier.start()
        _ledgers.add(self)
        reset_in_child(self, Ledger._reset)

    def __call__(self, event: CallEvent) -> None:
        """Record what a call cost.

        Raises:
            OSError: The spool cannot be written. The call is recorded once it can, unless the process ends before.
        """
        if line := line_of(event):
            self._copier.add(line)

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
        """The spending of each group, highest cost first. First copies the spool to the database.

        Args:
            by: What to group by; an empty sequence for the total.
            since: First day in UTC, or a `datetime` with a time zone.
            until: Last day in UTC, or a `datetime` with a time zone, before which calls count.
            user: Only calls of this end user.
            tag: Only calls with this tag.
            model: Only calls that requested this `provider/model` or group of a router.

        Raises:
            BadRequestError: A grouping does not exist, a time has no time zone, or an argument has another type.
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
        """US dollars that are known to have been spent. Arguments and errors are those of `spend`."""
        which = Filter(since=since, until=until, user=user, tag=tag, model=model)
        self.flush()
        return self._store.total(which)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the calls that are not in the database yet, in the spool or in memory. Reads the spool's folder."""
        return self._copier.waiting()

    @property
    def lost_calls(self) -> int:
        """Number of calls that this process lost: the spool could not be written, and more than 50,000 were waiting."""
        return self._copier.lost

    def flush(self) -> None:
        """Write the recorded calls to the database.

        Raises:
            LedgerError: The database cannot be written. The calls stay in the spool and are tried again.
        """
        self._copier.flush()

    def close(self) -> None:
        """Write the remaining calls and close the database. If it cannot be written, they stay in the spool.

        A ledger that is used after this opens again.
        """
        self._copier.close()
        self._store.close()

    def _reset(self) -> None:
        self._copier.abandon()
        self._store.close(inherited=True)
        self._copier = Copier(self._spool, self._store, self._interval)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        again = partial(Ledger, spool=self._spool.folder, interval=self._interval, lock_timeout=self._lock_timeout)
        return again, (self._url,)

    def __repr__(self) -> str:
        return f"Ledger({str(self._store)!r})"


def _default_folder(url: sa.URL, file: Path | None) -> Path:
    if file is not None:
        return file.with_name(f"{file.name}-spool")
    # without the password: it may change, and nothing should be derived from it
    name = hashlib.sha256(url.render_as_string(hide_password=True).encode()).hexdigest()[:16]
    try:
        return state_folder() / "anyrerank" / f"ledger-{name}"
    except RuntimeError:
        raise ConfigurationError("there is no home directory for the spool: choose a folder with spool=") from None


def state_folder() -> Path:
    """The user's folder for the state of programs.

    Raises:
        RuntimeError: There is no home directory.
    """
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


_ledgers: WeakSet[Ledger] = WeakSet()


@atexit.register
def _close_all() -> None:
    for ledger in list(_ledgers):
        ledger.close()
