"""The database of a gateway, for commands that read its ledger or its keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

    from anyrerank.gateway.keys import Key

_IN_THIS_FOLDER = "spend.db"
_SHOWN_OF_A_TOKEN = 16
"""Number of characters of a key's token in the tag of its calls."""


def ledger_of(given: str | None) -> str:
    """The ledger to read: the given one, else that of this folder, else that of the gateway.

    Raises:
        ConfigurationError: There is none.
    """
    from anyrerank.errors import ConfigurationError

    if given is not None or Path(_IN_THIS_FOLDER).exists():
        return given or _IN_THIS_FOLDER
    if url := os.environ.get("DATABASE_URL"):
        return url
    if (file := file_of_the_gateway()) is not None and file.exists():
        return str(file)
    raise ConfigurationError(
        f"there is no ledger {_IN_THIS_FOLDER} in this folder, and no database of a gateway"
        f"{'' if file is None else f' at {file}'}: name one with --db"
    )


def aliases_of(url: sa.URL) -> dict[str, str]:
    """The aliases of the keys in a database, by the tag of their calls; empty if there are none.

    A key without an alias has the end of the key, as in `anyrerank keys list`. One that was revoked since is marked so.
    """
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    keys = sa.table("anyrerank_keys", *map(sa.column, ("token", "first_token", "key_alias", "key_name")))
    deleted = sa.table("anyrerank_deleted_keys", *map(sa.column, ("first_token", "key_alias", "key_name")))
    name, old_name = (sa.func.coalesce(each.c.key_alias, each.c.key_name) for each in (keys, deleted))
    identity = sa.func.coalesce(keys.c.first_token, keys.c.token)
    queries = [  # the last of the same tag counts
        sa.select(deleted.c.first_token, old_name + " (revoked)"),
        sa.select(identity, name),
    ]
    engine = sa.create_engine(url, poolclass=NullPool, hide_parameters=True)
    with suppress(sa.exc.SQLAlchemyError), engine.connect() as connection:  # a ledger without keys
        rows = [row for query in queries for row in connection.execute(query)]
        return {f"key:{token[:_SHOWN_OF_A_TOKEN]}": alias for token, alias in rows}
    return {}


def spent_by(keys: list[Key], url: str) -> Mapping[str, float]:
    """US dollars that each key has spent, in the current window of its budget or in all time, by its token.

    Empty if the ledger cannot be read.
    """
    from datetime import datetime, timezone

    from anyrerank.errors import RerankError
    from anyrerank.ledger import Filter, Store

    found: dict[str, float] = {}
    windows: dict[float, dict[str | None, float]] = {}
    try:
        with closing(Store(url, create=False)) as store:
            for key in keys:
                started = window_of(key)[0]
                if started not in windows:
                    since = datetime.fromtimestamp(started, timezone.utc) if started else None
                    rows = store.spend("tag", Filter(since=since))
                    windows[started] = {row.group["tag"]: row.cost or 0.0 for row in rows}
                found[key.token] = windows[started].get(key.tag, 0.0)
    except RerankError:
        return {}
    return found


def window_of(key: Key) -> tuple[float, float | None]:
    """When the window of the budget of a key started, and when the next one starts; in seconds since 1970."""
    from anyrerank import Budget

    if key.max_budget is None:
        return 0.0, None
    budget = Budget(key.max_budget, key.budget_duration)
    return budget.started, budget.ends


def file_of_the_gateway() -> Path | None:
    """The default database of a gateway of this user; `None` without a home directory."""
    from anyrerank.ledger import state_folder

    try:
        return state_folder() / "anyrerank" / "anyrerank.db"
    except RuntimeError:
        return None
