"""The database of a ledger."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from anyrerank._core.runtime import ForkLock, checked_path, is_number
from anyrerank._core.types import public
from anyrerank.errors import ConfigurationError, RerankError
from anyrerank.ledger import schema
from anyrerank.ledger.engine import check_file, new_engine, parsed_url
from anyrerank.ledger.rows import Entry
from anyrerank.ledger.spending import By, Filter, Spend, checked, grouped, spends, total_cost

__all__ = ["By", "Filter", "LedgerError", "Spend", "Store", "checked"]

_T = TypeVar("_T")

_log = logging.getLogger("anyrerank")

_PAUSE = 0.01
_ON_CONFLICT: dict[str, Callable[[sa.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""The `INSERT` of dialects that can skip rows that already exist."""
_BEFORE_TABLES = {"sqlite": "PRAGMA journal_mode=WAL", "postgresql": "SELECT pg_advisory_xact_lock(7218340912)"}
"""The statement before the tables are created.

PostgreSQL's `IF NOT EXISTS` fails if two processes create a table at once. So the others wait for this lock until the
transaction ends; the number is that of this lock alone.
"""
_REFUSALS = (DataError, IntegrityError, OverflowError)
"""Errors that are caused by a value, not by a database that cannot be reached."""


@public("anyrerank.ledger")
class LedgerError(RerankError):
    """The database of the ledger cannot be written or read. Calls that are not in it stay in the spool."""


class Store:
    """The database of a ledger.

    Args:
        url: Path of an SQLite file, or a URL of SQLAlchemy.
        create: Whether to create the tables, and the file of SQLite, if they do not exist.
        lock_timeout: Seconds to wait while another process has the SQLite file locked.

    Raises:
        ConfigurationError: The database cannot be opened or written, is not one, or has another version.
    """

    def __init__(self, url: str | os.PathLike[str], *, create: bool, lock_timeout: float = 5.0) -> None:
        if not (is_number(lock_timeout) and lock_timeout >= 0):
            raise ConfigurationError(f"lock_timeout must be a number of seconds of at least 0, got {lock_timeout!r}")
        self.url = parsed_url(checked_path(url, "the url of a ledger"))
        self._engine = new_engine(self.url)
        self._lock_timeout = lock_timeout
        # SQLite's locks do not survive a fork: the process must not be forked while the file is open.
        self._no_fork = nullcontext() if self.file is None else ForkLock(lambda: None)
        if self.file is not None:
            check_file(self.file, create=create)
        try:
            with self._errors():
                found = self._version(create=create)
        except LedgerError as error:
            raise ConfigurationError(error.message) from None
        finally:
            self.close()
        self._check(found)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(str(self.url.database)) if self._engine.dialect.name == "sqlite" else None

    def __str__(self) -> str:
        url = self.url
        return str(self.file or sa.URL.create(url.drivername, host=url.host, port=url.port, database=url.database))

    def add(self, entries: Sequence[Entry]) -> None:
        """Write calls in one transaction, except those that are already stored.

        A call with a value that the database refuses is skipped and logged.

        Raises:
            LedgerError: The database is locked or full, or cannot be reached.
        """
        with self._errors():
            self._add(entries)

    def spend(self, by: By | Sequence[By], which: Filter) -> list[Spend]:
        """The spending of each group, highest cost first.

        Raises:
            BadRequestError: A grouping does not exist.
            LedgerError: The database cannot be read.
        """
        names = checked(by)
        query = grouped(names, which)
        with self._errors():
            return spends(names, self._connected(lambda connection: connection.execute(query).all()))

    def total(self, which: Filter) -> float:
        """US dollars that are known to have been spent.

        Raises:
            LedgerError: The database cannot be read.
        """
        query = total_cost(which)
        with self._errors():
            return float(self._connected(lambda connection: connection.execute(query).scalar()) or 0.0)

    def close(self, *, inherited: bool = False) -> None:
        """Close the connections, or forget those that are `inherited` from a parent process."""
        self._engine.dispose(close=not inherited)

    def _add(self, entries: Sequence[Entry]) -> None:
        try:
            self._connected(partial(self._insert, entries))
        except _REFUSALS as error:
            if len(entries) == 1:
                _log.warning("the ledger %s refused a call, which is skipped: %s", self, type(error).__name__)
                return
            for entry in entries:
                self._add([entry])

    def _insert(self, entries: Sequence[Entry], connection: sa.Connection) -> None:
        with connection.begin():
            if self._engine.dialect.name not in _ON_CONFLICT:
                entries = _new(entries, connection)
            for table, rows in (
                (schema.calls, [row for entry in entries for row in entry.calls]),
                (schema.tags, [row for entry in entries for row in entry.tags]),
            ):
                if rows:
                    connection.execute(self._insert_into(table), rows)

    def _insert_into(self, table: sa.Table) -> sa.Insert:
        insert = _ON_CONFLICT.get(self._engine.dialect.name)
        statement: sa.Insert = sa.insert(table) if insert is None else insert(table).on_conflict_do_nothing()
        return statement

    def _version(self, *, create: bool) -> int | None:
        found = self._connected(_found_version)
        if found is not None or not create:
            return found
        try:
            self._connected(self._create)
        except IntegrityError:  # another process did so at the same time
            self._connected(self._create)
        return self._connected(_found_version)

    def _create(self, connection: sa.Connection) -> None:
        with connection.begin():
            if statement := _BEFORE_TABLES.get(self._engine.dialect.name):
                connection.exec_driver_sql(statement)
            for table in schema.metadata.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            if connection.execute(sa.select(schema.version.c.version)).first() is None:
                connection.execute(sa.insert(schema.version).values(version=schema.VERSION))

    def _check(self, version: int | None) -> None:
        if version is None:
            raise ConfigurationError(f"{self} holds no ledger: a Ledger(...) among the hooks creates it")
        if version != schema.VERSION:
            raise ConfigurationError(
                f"{self} is a ledger of version {version}, expected {schema.VERSION}: use another database"
            )

    def _connected(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Call `work` with a connection, repeatedly while another process has the SQLite file locked.

        SQLite itself would wait with the file open, and so delay a fork of this process. It would not wait at all
        while another process changes a new file to WAL.
        """
        deadline = time.monotonic() + self._lock_timeout
        while True:
            try:
                with self._no_fork, self._engine.connect() as connection:
                    return work(connection)
            except OperationalError as error:
                if self.file is None or "locked" not in str(error.orig) or time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise the errors of the database as `LedgerError`, without a password or a value."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            reason = " ".join(str(cause).split())
            secrets = (self.url.password, *chain(*self.url.normalized_query.values()))
            if any(secret in reason for secret in secrets if secret):
                reason = type(cause).__name__
            raise LedgerError(f"the ledger {self} cannot be used: {reason}") from None


def _found_version(connection: sa.Connection) -> int | None:
    if not sa.inspect(connection).has_table(schema.version.name):
        return None
    return connection.execute(sa.select(sa.func.max(schema.version.c.version))).scalar()


def _new(entries: Sequence[Entry], connection: sa.Connection) -> list[Entry]:
    """The calls that are not stored yet; the rows of a call are always written together."""
    key = schema.calls.c.call
    keys = [entry.calls[0]["call"] for entry in entries]
    there = set(connection.execute(sa.select(key).where(key.in_(keys))).scalars())
    return [entry for entry, each in zip(entries, keys, strict=True) if each not in there]
