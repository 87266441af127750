"""What a gateway needs besides its providers: libraries, its database, and Redis."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from anyrerank.cli.databases import file_of_the_gateway
from anyrerank.errors import ConfigurationError, MissingExtraError, RerankError

if TYPE_CHECKING:
    from anyrerank.gateway import GatewaySettings


def refuse_missing_extras(settings: GatewaySettings) -> None:
    """Raise if libraries for the database or for Redis are missing, with one command that installs all of them.

    Raises:
        MissingExtraError: At least one is missing.
    """
    url = "" if settings.database_url is None else settings.database_url.get_secret_value()
    needed = {"postgres": ("psycopg", url.startswith("postgres")), "redis": ("redis", settings.redis_url is not None)}
    missing = {extra: fault for extra, (name, used) in needed.items() if used and (fault := _fault_of_import(name))}
    if missing:
        raise MissingExtraError(
            f"the database and Redis of this configuration need {', and '.join(missing.values())}: "
            f"pip install 'anyrerank[gateway,{','.join(missing)}]'"
        )


def services(settings: GatewaySettings, *, connect: bool) -> Iterator[tuple[str, bool]]:
    """A line about the database and one about Redis, and whether the gateway can start with it.

    Args:
        settings: Those of the gateway.
        connect: Whether to connect to them; nothing is written.

    Raises:
        ConfigurationError: A URL is wrong.
    """
    yield _line("database", _database(settings), connect=connect, needed=not settings.allow_requests_on_db_unavailable)
    if settings.redis_url is None:
        share = "" if settings.replicas == 1 else f", of which each of {settings.replicas} replicas has its share"
        yield f"redis: none; limits and cooldowns are counted in each process{share}", True
    else:
        yield _line("redis", _redis(settings), connect=connect, needed=True)


def _line(name: str, service: tuple[str, Callable[[], str | None]], *, connect: bool, needed: bool) -> tuple[str, bool]:
    shown, check = service
    if not connect:
        return f"{name}: {shown}", True
    try:
        found = check()
    except RerankError as error:
        return f"{'error' if needed else 'warning'}: {name}: {error.message}", not needed
    return f"{name}: {shown}, {found or 'connected'}", True


def _database(settings: GatewaySettings) -> tuple[str, Callable[[], str | None]]:
    """The database as it may be shown, and a function that connects to it."""
    from anyrerank.gateway.keys import Database, DatabaseError, checked_url

    given = settings.database_url
    database = Database(checked_url(given.get_secret_value()) if given else f"sqlite:///{file_of_the_gateway()}")
    file = Path(str(database.url.database)) if database.url.get_backend_name() == "sqlite" else None

    def check() -> str | None:
        if file is not None and not file.exists():  # to connect would create it
            if given and not file.parent.is_dir():
                raise ConfigurationError(f"the folder {file.parent} does not exist: create it")
            return "which does not exist yet: `anyrerank serve` makes it"
        with closing(database):
            try:
                return None if database.check() else "connected; `anyrerank serve` makes its tables"
            except DatabaseError as error:
                raise ConfigurationError(str(error)) from None

    return f"{database}{'' if given else ' (the default)'}", check


def _redis(settings: GatewaySettings) -> tuple[str, Callable[[], None]]:
    """Redis as it may be shown, and a function that connects to it."""
    from anyrerank.gateway.configuration import shared_state

    state = shared_state(settings, check=False)
    if state is None:
        raise ConfigurationError("there is no redis_url")

    def check() -> None:
        with state:
            state.check()

    return state.link.shown, check


def _fault_of_import(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        return f"{name}, which cannot be imported ({' '.join(str(error).split())[:100]})"
    return None
