"""The ledger's database: its tables, and how they are written, asked and opened, through SQLAlchemy Core."""

from __future__ import annotations

import logging
import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import partial
from itertools import chain
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Literal, TypeAlias, TypeVar, cast

from anyrerank._core.runtime import checked_path, is_number
from anyrerank._core.types import public
from anyrerank.cache.fork_lock import ForkLock
from anyrerank.errors import BadRequestError, ConfigurationError, RerankError
from anyrerank.ledger.rows import plain

try:
    import sqlalchemy as sa
except ImportError as error:
    raise ConfigurationError(f"SQLAlchemy cannot be imported ({error}): pip install 'anyrerank[ledger]'") from error

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool

_Values: TypeAlias = Sequence[Sequence[Any]]
By: TypeAlias = Literal["user", "model", "deployment", "tag", "day", "provider"]
"""What spending can be grouped by; a day is one of UTC, and a call with several tags counts for each of them."""

_log = logging.getLogger("anyrerank")
_T = TypeVar("_T")

_VERSION = 1
_IN_MEMORY = ":memory:"
_AT_ONCE = (500, 50, 1) if sqlite3.sqlite_version_info >= (3, 32) else (50, 1)
"""Rows of a statement, the largest that fits: each is one time for the threads to fight for the interpreter's lock. An
older SQLite has no more than 999 parameters."""
_KEYS = 500
_PAUSE = 0.01
_ESCAPED = "percent-encode what is special in its user and its password (@ as %40, / as %2F, : as %3A)"
_SECONDS_OF_A_DAY = 86_400
_REFUSALS = (DataError, IntegrityError, ArithmeticError, TypeError, ValueError)
"""What a statement fails with for one of its values, and not because the database is out of reach."""
_REFUSALS_OF_SQLITE = (*_REFUSALS, InterfaceError, ProgrammingError)
"""For others these two are a connection that is lost, or a table that is missing."""

_metadata = sa.MetaData()
_version = sa.Table("anyrerank_ledger", _metadata, sa.Column("version", sa.Integer, primary_key=True))
_calls = sa.Table(
    "anyrerank_calls",
    _metadata,
    sa.Column("call", sa.String(40), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Double, nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("end_user", sa.Text),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("requests", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("documents", sa.Integer, nullable=False),
    sa.Column("search_units", sa.Double),
    sa.Column("tokens", sa.Double),
    sa.Column("cost", sa.Double),
    sa.Column("estimated", sa.Boolean, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("cached", sa.Integer, nullable=False),
    sa.Column("saved", sa.Double),
    sqlite_with_rowid=False,
)
_tags = sa.Table(
    "anyrerank_tags",
    _metadata,
    sa.Column("call", sa.String(40), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tag", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
_GROUPS: Mapping[By, sa.Column[Any]] = {
    "user": _calls.c.end_user,
    "model": _calls.c.model,
    "deployment": _calls.c.deployment,
    "tag": _tags.c.tag,
    "day": _calls.c.day,
    "provider": _calls.c.provider,
}
_INSERT: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""Of the databases that leave out by themselves what is there already."""


@public("anyrerank.ledger")
class LedgerError(RerankError):
    """The ledger's database cannot be written or read; what it has not taken yet stays in the journal."""


class _RefusedError(Exception):
    """The database does not take one of the values."""


@public("anyrerank.ledger")
@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What a group of calls cost.

    Attributes:
        group: What it is grouped by and the value of the group; `None` for calls without a user or a tag.
        calls: How many calls.
        requests, failures: Tries of these, and how many of them failed.
        documents: How many the calls had; those of a call that fell back count for each deployment that was asked.
        search_units, tokens: What the providers say they used, or `None` where none says it.
        cost: US dollars that are known to have been spent, or `None` when no cost is known.
        unknown: How many calls cost more than is known.
        saved: US dollars that were not spent, thanks to the cache, or `None` when that is not known.
    """

    group: Mapping[By, str | None]
    calls: int
    requests: int
    failures: int
    documents: int
    search_units: float | None
    tokens: float | None
    cost: float | None
    unknown: int
    saved: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which calls are meant; `None` stands for all.

    Attributes:
        since: The first day, or the moment from which on.
        until: The last day, or the moment before which.
        user, tag, model: What the call had.

    Raises:
        BadRequestError: One of them is something else, or a time is without its zone.
    """

    since: date | None = None
    until: date | None = None
    user: str | None = None
    tag: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        for name, moment in (("since", self.since), ("until", self.until)):
            _check_moment(name, moment)
        for name, value in (("user", self.user), ("tag", self.tag), ("model", self.model)):
            _check_text(name, value)

    def clauses(self) -> Iterator[sa.ColumnElement[bool]]:
        """What SQL asks of a row."""
        if self.since is not None:
            yield _calls.c.time >= _seconds(self.since, 0)
        if self.until is not None:
            yield _calls.c.time < _seconds(self.until, 1)
        if self.user is not None:
            yield _calls.c.end_user == plain(self.user)
        if self.model is not None:
            yield _calls.c.model == plain(self.model)
        if self.tag is not None:
            yield _calls.c.call.in_(sa.select(_tags.c.call).where(_tags.c.tag == plain(self.tag)))


class Store:
    """The database of a ledger.

    Args:
        url: Path of an SQLite file, or a URL of SQLAlchemy's.
        create: Whether to make the tables, and the file of SQLite, where there are none.
        patience: Seconds to wait for somebody else who writes to the same SQLite file.

    Raises:
        ConfigurationError: It cannot be opened or written, is no database, or is of another version.
    """

    def __init__(self, url: str | os.PathLike[str], *, create: bool, patience: float = 5.0) -> None:
        if not (is_number(patience) and patience >= 0):
            raise ConfigurationError("patience, of a ledger, is a number of seconds of at least 0")
        self.url = _parsed(checked_path(url, "the url of a ledger"))
        self._secrets = [
            secret for secret in (self.url.password, *chain(*self.url.normalized_query.values())) if secret
        ]
        self._engine = _engine(self.url)
        self._patience = patience
        self._dialect = self._engine.dialect
        # SQLite's own notes of who holds which lock, copied into a child while a file is open, are wrong for ever there
        self._unforked = nullcontext() if self.file is None else ForkLock(lambda: None)
        self._refusals = _REFUSALS if self.file is None else _REFUSALS_OF_SQLITE
        self._inserts = {table.name: self._statements(table) for table in (_calls, _tags)}
        if self.file is not None:
            _check_file(self.file, create=create)
        try:
            with self._told():
                version = self._found_version(create=create)
        except LedgerError as error:
            raise ConfigurationError(error.message) from None
        finally:
            self.close()
        if version != _VERSION:
            raise ConfigurationError(
                f"{self} is a ledger of another version ({version}; this is {_VERSION}): give the ledger another one"
                if version is not None
                else f"{self} holds no ledger: it is made where a Ledger(...) is among the hooks"
            )

    @property
    def file(self) -> Path | None:
        """Of SQLite."""
        return Path(str(self.url.database)) if self._dialect.name == "sqlite" else None

    def __str__(self) -> str:
        url = self.url
        return str(self.file or sa.URL.create(url.drivername, host=url.host, port=url.port, database=url.database))

    def add(self, batches: Iterable[list[list[Any]]]) -> int:
        """Write rows, each batch in a transaction, and leave out those that are there already.

        A call that the database refuses for its values is left out, and said to be.

        Args:
            batches: Lists of rows (`rows.Row`), which are taken apart.

        Returns:
            How many rows these were.

        Raises:
            LedgerError: The database is locked, out of reach or full.
        """
        count = 0
        with self._told():
            for rows in batches:
                count += len(rows)
                self._add(rows, [(row[0], place, tag) for row in rows for place, tag in enumerate(row.pop() or ())])
        return count

    def _add(self, rows: _Values, tags: _Values) -> None:
        try:
            self._patiently(partial(self._inserted, rows, tags))
        except _RefusedError as refused:
            calls = list(dict.fromkeys(row[0] for row in rows))
            if len(calls) == 1:
                _log.warning("the ledger %s refuses a call, which is left out: %s", self, refused)
                return
            half = set(calls[: len(calls) // 2])
            for wanted in (True, False):
                self._add(*([each for each in some if (each[0] in half) is wanted] for some in (rows, tags)))

    def _inserted(self, rows: _Values, tags: _Values, connection: sa.Connection) -> None:
        try:
            with connection.begin():
                if self._dialect.name not in _INSERT:
                    rows, tags = _new(connection, rows, tags)
                self._insert_into(_calls, rows, connection)
                self._insert_into(_tags, tags, connection)
        except self._refusals as error:
            raise _RefusedError(type(error).__name__) from None

    def _insert_into(self, table: sa.Table, values: _Values, connection: sa.Connection) -> None:
        place = 0
        for size, statement in self._inserts[table.name].items():
            while len(values) - place >= size:
                several = tuple(chain.from_iterable(values[place : place + size]))
                connection.exec_driver_sql(statement, several)
                place += size

    def spend(self, by: By | Sequence[By], which: Filter) -> list[Spend]:
        """What was spent, the most expensive first.

        Raises:
            BadRequestError: Something to group by that does not exist.
            LedgerError: The database cannot be read.
        """
        names = checked(by)
        groups = [_GROUPS[name] for name in names]
        source = _calls.outerjoin(_tags, _tags.c.call == _calls.c.call) if "tag" in names else _calls
        sums = [
            sa.func.sum(_calls.c[name])
            for name in ("requests", "failures", "documents", "search_units", "tokens", "cost", "saved")
        ]
        unpriced = sa.case((_calls.c.cost.is_(None), _calls.c.call))
        counts = [sa.func.count(sa.distinct(each)) for each in (_calls.c.call, unpriced)]
        wanted = sa.select(*groups, *counts, *sums).select_from(source).where(*which.clauses()).group_by(*groups)
        with self._told():
            found = self._patiently(lambda connection: connection.execute(wanted).all())
        return sorted((_spend(names, row) for row in found), key=_dearest_first)

    def total(self, which: Filter) -> float:
        """US dollars that are known to have been spent.

        Raises:
            LedgerError: The database cannot be read.
        """
        wanted = sa.select(sa.func.sum(_calls.c.cost)).where(*which.clauses())
        with self._told():
            return float(self._patiently(lambda connection: connection.execute(wanted).scalar()) or 0.0)

    def close(self, *, inherited: bool = False) -> None:
        """Close the connections; those that are `inherited` from a parent process are forgotten."""
        self._engine.dispose(close=not inherited)

    def _statements(self, table: sa.Table) -> dict[int, str]:
        """Statements by their number of rows, for the driver: SQLAlchemy's care for each value costs too much."""
        statement = _INSERT.get(self._dialect.name, sa.insert)(table)
        if self._dialect.name in _INSERT:
            statement = statement.on_conflict_do_nothing()
        text = str(statement.compile(dialect=self._dialect))
        head, values, rest = text.partition("VALUES ")
        row, conflict, tail = rest.partition(" ON CONFLICT")
        return {size: f"{head}{values}{', '.join([row] * size)}{conflict}{tail}" for size in _AT_ONCE}

    def _found_version(self, *, create: bool) -> int | None:
        if create and self._patiently(self._version) is None:
            try:
                self._patiently(self._create)
            except IntegrityError:  # another process did so at this moment
                self._patiently(self._create)
        return self._patiently(self._version)

    def _version(self, connection: sa.Connection) -> int | None:
        if not sa.inspect(connection).has_table(_version.name):
            return None
        return connection.execute(sa.select(sa.func.max(_version.c.version))).scalar()

    def _create(self, connection: sa.Connection) -> None:
        with connection.begin():
            if self.file is not None:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            for table in _metadata.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            if connection.execute(sa.select(_version.c.version)).first() is None:
                connection.execute(sa.insert(_version).values(version=_VERSION))

    def _patiently(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Do something with a connection; again and again, while somebody else writes to the file.

        SQLite itself would wait with the file open, in which no process may be forked, and not at all while another
        process changes a new file to WAL.
        """
        end = monotonic() + self._patience
        while True:
            try:
                with self._unforked, self._engine.connect() as connection:
                    return work(connection)
            except OperationalError as error:
                if self.file is None or "locked" not in str(error.orig) or monotonic() >= end:
                    raise
            sleep(_PAUSE)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the database as ours, without a password or a value."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            reason = " ".join(str(cause).split())
            if any(secret in reason for secret in self._secrets):
                reason = type(cause).__name__
            raise LedgerError(f"the ledger {self} cannot be used: {reason}") from None


def checked(by: object) -> tuple[By, ...]:
    """What to group by, if there is all of it.

    Raises:
        BadRequestError: There is not.
    """
    names = (by,) if isinstance(by, str) or not isinstance(by, Iterable) else tuple(by)
    if unknown := [name for name in names if not isinstance(name, str) or name not in _GROUPS]:
        raise BadRequestError(f"there is no spending by {unknown[0]!r}, but by {', '.join(_GROUPS)}")
    return cast("tuple[By, ...]", tuple(dict.fromkeys(names)))


def _parsed(url: str) -> sa.URL:
    if "://" not in url:
        return sa.URL.create("sqlite", database=os.path.abspath(url) if url and url != _IN_MEMORY else None)  # noqa: PTH100
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "the ledger's URL is not of the form dialect+driver://user:password@host:port/name with a number as port: "
            f"{_ESCAPED}"
        ) from None
    if parsed.host is not None and "@" in f"{parsed.host}{parsed.database}":
        raise ConfigurationError(f"the ledger's URL has more than one @: {_ESCAPED}")
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", _IN_MEMORY):
        return parsed
    return parsed.set(database=os.path.abspath(str(parsed.database)))  # noqa: PTH100


def _engine(url: sa.URL) -> sa.Engine:
    try:
        dialect = url.get_dialect()
        if dialect.is_async:
            raise ConfigurationError(
                f"{url.drivername} is an asynchronous driver: a ledger writes in a thread of its own"
            )
        if url.get_backend_name() != "sqlite":
            # by place: to name each parameter of fifty rows would cost more than all the rest
            by_name = getattr(dialect, "default_paramstyle", None) == "pyformat"
            by_place = {"paramstyle": "format"} if by_name else {}
            return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True, **by_place)
        if url.database in (None, "", _IN_MEMORY):
            raise ConfigurationError("a ledger in memory would be lost: give it the path of a file")
        # a connection for each batch: no idle one keeps the file open, or gets into a child process
        engine = sa.create_engine(url, hide_parameters=True, poolclass=NullPool, connect_args={"timeout": 0})
    except (NoSuchModuleError, ArgumentError):
        raise ConfigurationError(f"{url.drivername} is no database that SQLAlchemy knows") from None
    except ImportError as error:
        raise ConfigurationError(f"the driver of {url.drivername} cannot be imported: {error}") from None
    except ValueError:
        raise ConfigurationError(f"{url.drivername} cannot read an option of the ledger's URL") from None
    sa.event.listen(engine, "connect", _quickly)
    return engine


def _quickly(connection: Any, _: object) -> None:
    """Do not wait for the disk: if the machine crashes, and not just a process, the last batches may be lost."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _check_file(path: Path, *, create: bool) -> None:
    if not path.parent.is_dir():
        raise ConfigurationError(f"the folder of the ledger {path} does not exist: make it first")
    if not path.exists() and not create:
        raise ConfigurationError(f"there is no ledger {path}: it is made where a Ledger(...) is among the hooks")
    if create and not all(os.access(each, os.W_OK) for each in (path.parent, path) if each.exists()):
        raise ConfigurationError(f"the ledger {path} cannot be written: it, or its folder, is read-only")


def _new(connection: sa.Connection, rows: _Values, tags: _Values) -> tuple[_Values, _Values]:
    """What is of calls that are not there yet; the rows of a call are always written together."""
    there: set[str] = set()
    for start in range(0, len(rows), _KEYS):
        keys = {row[0] for row in rows[start : start + _KEYS]}
        there |= set(connection.execute(sa.select(_calls.c.call).where(_calls.c.call.in_(keys))).scalars())
    return [row for row in rows if row[0] not in there], [tag for tag in tags if tag[0] not in there]


def _check_moment(name: str, moment: object) -> None:
    if moment is None or (isinstance(moment, date) and getattr(moment, "tzinfo", timezone.utc) is not None):
        return
    raise BadRequestError(f"{name} is a date, or a datetime with a time zone")


def _check_text(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise BadRequestError(f"{name} is a string, and not of type {type(value).__name__}")


def _seconds(moment: date, days: int) -> float:
    """Seconds since 1970 of a moment, or of the beginning of a day of UTC, that many days later."""
    if isinstance(moment, datetime):
        return moment.timestamp()
    return datetime(moment.year, moment.month, moment.day, tzinfo=timezone.utc).timestamp() + days * _SECONDS_OF_A_DAY


def _spend(names: Sequence[By], row: Sequence[Any]) -> Spend:
    values = tuple(row)
    calls, unknown, requests, failures, documents, units, tokens, cost, saved = values[len(names) :]
    return Spend(
        group=dict(zip(names, values, strict=False)),
        calls=calls,
        requests=int(requests or 0),
        failures=int(failures or 0),
        documents=int(documents or 0),
        search_units=_number(units),
        tokens=_number(tokens),
        cost=_number(cost) if calls else 0.0,
        unknown=unknown,
        saved=_number(saved),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _dearest_first(spend: Spend) -> tuple[Any, ...]:
    cost = -math.inf if spend.cost is None else spend.cost
    return (-cost, -spend.calls, [value or "" for value in spend.group.values()])
