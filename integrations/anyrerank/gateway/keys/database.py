"""The database of keys: connecting, creating and upgrading it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.keys.tables import VERSION, VERSION_TABLE
from anyrerank.ledger import server_engine

_LOCK_SECONDS = 5.0
_LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7218340911)"}
"""What lets other processes wait until the transaction ends; the number is that of this lock alone."""

PROGRAM = "anyrerank gateway "
"""The beginning of the names of connections."""
SERVER_TIME = sa.extract("epoch", sa.func.clock_timestamp())
"""Seconds since 1970 by the clock of PostgreSQL."""


class DatabaseError(Exception):
    """The database cannot be read or written. The message holds no password and no value."""


class Database:
    """Keys and end users, in SQLite or PostgreSQL. Blocks: to be used in a thread.

    Args:
        url: `sqlite:///path` or a URL of SQLAlchemy; a plain `postgresql://` is served by psycopg.
        way: What the names of connections to PostgreSQL say about this process; `None` for no names.

    Attributes:
        program: The name of the connections.

    Raises:
        ConfigurationError: The URL is wrong, or its driver is not installed.
    """

    def __init__(self, url: str, way: str | None = None) -> None:
        self.url = _parsed(url)
        self.program = "" if way is None else f"{PROGRAM}{uuid4().hex[:8]} {way}"
        self._engine = _engine(self.url, self.program)

    def __str__(self) -> str:
        return self.url.set(query={}).render_as_string(hide_password=True)  # an option may be a password

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A connection in a transaction.

        Raises:
            DatabaseError: The database cannot be reached, or refuses a statement.
            sqlalchemy.exc.IntegrityError: A row with this key exists.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.IntegrityError:
            raise
        except SQLAlchemyError as error:
            reason = _reason(error, self.url)
            raise DatabaseError(f"the database {self} cannot be used: {reason}; {_advice(self.url)}") from None

    def version(self) -> str | None:
        """The version of its tables; `None` if it has none."""
        with self.begin() as connection:
            return _version(connection)

    def prepare(self) -> None:
        """Make the tables of a new database, and check the version of another one.

        Raises:
            DatabaseError: It cannot be reached or written.
            ConfigurationError: Its version is another one than that of this release.
        """
        if not self.check():
            self.upgrade()
            self.check()

    def check(self) -> bool:
        """Whether it has tables, and not those of another release. Writes nothing.

        Raises:
            DatabaseError: It cannot be reached.
            ConfigurationError: Its version is another one than that of this release.
        """
        version = self.version()
        if version not in (None, VERSION):
            self._check_known(version)
            raise ConfigurationError(
                f"the database {self} has version {version}, and this release needs {VERSION}: run `anyrerank db "
                "upgrade`"
            )
        return version is not None

    def upgrade(self) -> str:
        """Bring the tables to the newest version, and return it. Processes that do so at the same time take turns.

        Raises:
            DatabaseError: It cannot be reached or written.
            ConfigurationError: Its version is not known.
        """
        from anyrerank.gateway.keys.migrating import migrate

        with self.begin() as connection:
            if lock := _LOCKS.get(connection.dialect.name):
                connection.exec_driver_sql(lock)
            self._check_known(_version(connection))
            migrate(connection)
        return VERSION

    def identity(self) -> str:
        """What tells this database from others, by whatever URL it is reached.

        Raises:
            DatabaseError: It cannot be read.
        """
        if self.url.get_backend_name() != "postgresql":
            return f"{socket.gethostname()}:{self.url.database}"
        with self.begin() as connection:
            row = connection.execute(
                sa.text("SELECT system_identifier, current_database() FROM pg_control_system()")
            ).one()
        return f"{row[0]}:{row[1]}"

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _check_known(self, version: str | None) -> None:
        from anyrerank.gateway.keys.migrating import known_versions

        if version is not None and version not in known_versions():
            raise ConfigurationError(
                f"the database {self} has version {version[:40]}, which this release does not know: upgrade anyrerank, "
                "or use another database"
            )


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE)))
    return version


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "database_url must be sqlite:///path or postgresql://user:password@host:port/name, with special characters "
            "in the password percent-encoded"
        ) from None
    if parsed.host is not None and "@" in f"{parsed.host}{parsed.database}":  # a part of the password would be shown
        raise ConfigurationError("database_url has more than one @: write one in the password as %40")
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ConfigurationError("database_url must name a file: a database in memory would be lost")
        parsed = parsed.set(database=str(Path(str(parsed.database)).absolute()))
    return parsed


def _engine(url: sa.URL, program: str) -> sa.Engine:
    try:
        if url.get_backend_name() != "sqlite":
            return server_engine(url.update_query_dict({"application_name": program}) if program else url)
        return sa.create_engine(url, hide_parameters=True, poolclass=NullPool, connect_args={"timeout": _LOCK_SECONDS})
    except (NoSuchModuleError, ArgumentError):
        raise ConfigurationError(
            f"database_url: SQLAlchemy has no driver named {url.drivername}: write {url.get_backend_name()}://"
        ) from None
    except ImportError as error:
        raise ConfigurationError(
            f"database_url: the driver {url.drivername} cannot be imported ({error}): write {url.get_backend_name()}://"
        ) from None


def _reason(error: SQLAlchemyError, url: sa.URL) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    text = " ".join(str(cause).split())[:300]
    secrets = (url.password, *chain(*url.normalized_query.values()))
    return type(cause).__name__ if any(secret in text for secret in secrets if secret) else text


def _advice(url: sa.URL) -> str:
    if url.get_backend_name() == "sqlite":
        return "check that its folder exists, that this user may write there, and that it is a database of a gateway"
    return "check that the server runs and can be reached, and user, password and name in the URL"
