"""Creating an SQLAlchemy engine from a path or a URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from anyrerank.errors import ConfigurationError, MissingExtraError

_POSTGRESQL = ("postgres", "postgresql")
_IN_MEMORY = (None, "", ":memory:")
_ESCAPING = "percent-encode special characters in the user and the password (@ as %40, / as %2F, : as %3A)"


def parsed_url(url: str) -> sa.URL:
    """A URL, with the absolute path of an SQLite file; PostgreSQL without a driver is served by psycopg.

    Args:
        url: Path of an SQLite file, or a URL of SQLAlchemy.

    Raises:
        ConfigurationError: The URL is malformed, or the database would be in memory.
    """
    parsed = _split(url) if "://" in url else sa.URL.create("sqlite", database=url)
    if parsed.drivername in _POSTGRESQL:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        return parsed
    if parsed.database in _IN_MEMORY:
        raise ConfigurationError("the ledger must be a file: a database in memory would be lost")
    return parsed.set(database=os.path.abspath(str(parsed.database)))  # noqa: PTH100  resolves no links


def new_engine(url: sa.URL) -> sa.Engine:
    """An engine, which is not connected yet.

    Raises:
        ConfigurationError: SQLAlchemy has no such dialect, or its driver is missing, asynchronous or misconfigured.
        MissingExtraError: The driver of PostgreSQL is not installed.
    """
    try:
        if url.get_dialect().is_async:
            raise ConfigurationError(f"{url.drivername} is an asynchronous driver: the ledger needs a synchronous one")
        return _new_engine(url)
    except (NoSuchModuleError, ArgumentError):
        raise ConfigurationError(f"SQLAlchemy has no database driver named {url.drivername}") from None
    except ImportError as error:
        problem = f"the driver of {url.drivername} cannot be imported: {error}"
        if url.drivername == "postgresql+psycopg":
            raise MissingExtraError(f"{problem}: pip install 'anyrerank[postgres]'") from None
        raise ConfigurationError(problem) from None
    except ValueError:
        raise ConfigurationError(f"{url.drivername} does not accept an option in the ledger's URL") from None


def server_engine(url: sa.URL) -> sa.Engine:
    """An engine for a database server. For PostgreSQL, its connections raise an error if the server does not answer.

    Raises:
        ImportError: The driver is missing.
        sqlalchemy.exc.ArgumentError, ValueError: SQLAlchemy has no such dialect, or an option in the URL is wrong.
    """
    engine = sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)
    if engine.driver == "psycopg":
        from anyrerank.ledger.postgresql import connected

        sa.event.listen(engine, "do_connect", connected)
    return engine


def check_file(path: Path, *, create: bool) -> None:
    """Check for errors that SQLite reports unclearly.

    Raises:
        ConfigurationError: The file or its folder is missing, or one that is to be written is read-only.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(f"the folder of the ledger {path} does not exist: create it first")
    if not path.exists() and not create:
        raise ConfigurationError(f"there is no ledger {path}: a Ledger(...) among the hooks creates it")
    if create and not all(os.access(each, os.W_OK) for each in (path.parent, path) if each.exists()):
        raise ConfigurationError(f"the ledger {path} cannot be written: the file or its folder is read-only")


def _split(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "the ledger's URL must have the form dialect+driver://user:password@host:port/name with a number as port: "
            f"{_ESCAPING}"
        ) from None
    if parsed.host is not None and "@" in f"{parsed.host}{parsed.database}":
        raise ConfigurationError(f"the ledger's URL has more than one @: {_ESCAPING}")
    return parsed


def _new_engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return server_engine(url)
    # without a pool: SQLite does not survive a fork with an open file; without a timeout: see `Store`
    engine = sa.create_engine(url, hide_parameters=True, poolclass=NullPool, connect_args={"timeout": 0})
    sa.event.listen(engine, "connect", _set_synchronous)
    return engine


def _set_synchronous(connection: Any, _: object) -> None:
    """Do not wait for the disk: only a crash of the machine, not of the process, can lose the last commits."""
    connection.execute("PRAGMA synchronous=NORMAL")
