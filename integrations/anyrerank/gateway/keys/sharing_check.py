"""Checking that gateways which use a PostgreSQL database share their state in the same way."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta

import sqlalchemy as sa

from anyrerank._core.redis import RedisUnavailableError
from anyrerank.errors import ConfigurationError
from anyrerank.gateway.keys.database import PROGRAM, Database
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.state import RedisState

_log = logging.getLogger("anyrerank.gateway")

_ALONE = "without other gateways"
_REDIS = "through the Redis state"
_UNKNOWN = f"{_REDIS} ?"
_RECENT_SECONDS = 45


class DisagreementError(ConfigurationError):
    """Gateways that run count in another way than this one would: it must not start, whatever it may do without."""


def way_of_sharing(settings: GatewaySettings, state: RedisState | None) -> str:
    """How a gateway shares budgets and limits with others; every connection to the database says so."""
    if state is not None:
        with suppress(RedisUnavailableError):  # as when a worker is replaced while Redis is away
            return f"{_REDIS} {state.identity.read()}"
        return _UNKNOWN
    return _ALONE if settings.replicas == 1 else f"as {settings.replicas} replicas without Redis"


def check_others(database: Database, way: str, *, is_rolling_change: bool) -> None:
    """Raise if gateways that run with this database share in another way, and warn if none of them shares.

    Args:
        database: That of the keys.
        way: That of this gateway.
        is_rolling_change: Whether the others may have another way: then this only warns.

    Raises:
        DisagreementError: They have.
        DatabaseError: The database cannot be read.
    """
    if database.url.get_backend_name() != "postgresql":
        return
    others = _ways_of_others(database)
    if different := sorted(each for each in others if not _may_be_the_same(each, way)):
        message = (
            f"database_url: gateways that use this database count budgets and limits {' and '.join(different)}, and "
            f"this one {way}, so that more could be spent: give all of them the same redis_url (with its "
            "database number), redis_prefix and replicas"
        )
        if not is_rolling_change:
            raise DisagreementError(
                f"{message}. To change one after the other, start each with --rolling-change (or "
                "ANYRERANK_ROLLING_CHANGE=1)"
            )
        _log.warning("%s", message)
    elif way == _ALONE and others:
        _log.warning(
            "database_url: another gateway uses this database, and each of them allows all of every limit and budget: "
            "set redis_url or replicas, unless this one replaces it"
        )


def _may_be_the_same(first: str, second: str) -> bool:
    is_unknown = _UNKNOWN in (first, second) and first.startswith(_REDIS) and second.startswith(_REDIS)
    return first == second or is_unknown


def _ways_of_others(database: Database) -> set[str]:
    """The ways of other processes, by the names that their connections have."""
    activity = sa.table("pg_stat_activity", *map(sa.column, ("application_name", "datname", "state_change")))
    name, used = activity.c.application_name, activity.c.state_change
    # A gateway uses its connection every half second; the name of one that is gone may stay at a pooler's.
    is_recent = sa.or_(used.is_(None), used > sa.func.clock_timestamp() - timedelta(seconds=_RECENT_SECONDS))
    is_here = activity.c.datname == sa.func.current_database()
    chosen = sa.select(name).where(is_here, name.startswith(PROGRAM), is_recent)
    with database.begin() as connection:
        names = {str(each) for each in connection.scalars(chosen)} - {database.program}
    return {each.removeprefix(PROGRAM).partition(" ")[2] for each in names}
