"""The URL of the database of keys, and whether it is supported."""

from __future__ import annotations

import importlib
import os

from anyrerank.errors import ConfigurationError
from anyrerank.ledger import state_folder

_SUPPORTED = ("sqlite", "postgres", "postgresql")
_ELSEWHERE = "set database_url, or the variable DATABASE_URL"


def default_url() -> str:
    """An SQLite file in the folder of the user for such data, which is created.

    Raises:
        ConfigurationError: There is no such folder and it cannot be created, or it cannot be written.
    """
    try:
        folder = state_folder() / "anyrerank"
    except RuntimeError:
        raise ConfigurationError(f"there is no home directory for the database: {_ELSEWHERE}") from None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"the folder {folder} for the database cannot be made ({reason}): {_ELSEWHERE}"
        ) from None
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"the folder {folder} for the database cannot be written: {_ELSEWHERE}")
    return f"sqlite:///{folder / 'anyrerank.db'}"


def checked_url(url: str) -> str:
    """The URL of a database, if it is of a kind that is supported and its driver is installed.

    Raises:
        ConfigurationError: It is not.
    """
    scheme, colon, _ = url.partition("://")
    kind, _, driver = scheme.partition("+")
    if colon and kind not in _SUPPORTED:
        raise ConfigurationError(
            f"database_url: {kind[:40]} is not supported: only sqlite:///path and "
            "postgresql://user:password@host/name are"
        )
    if kind.startswith("postgres") and driver in ("", "psycopg"):
        try:
            importlib.import_module("psycopg")
        except ImportError as error:
            reason = " ".join(str(error).split())[:100]
            raise ConfigurationError(
                f"database_url: PostgreSQL needs psycopg, which cannot be imported ({reason}): pip install "
                "'anyrerank[postgres]'"
            ) from None
    return url
