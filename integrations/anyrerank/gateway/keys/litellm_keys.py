"""Virtual keys that LiteLLM's proxy has made, read from its database. It stores the same hash of a key.

Source: https://github.com/BerriAI/litellm/blob/main/schema.prisma
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.errors import GatewayError
from anyrerank.gateway.keys.database import Database
from anyrerank.gateway.keys.fields import columns_of_key, restricts
from anyrerank.gateway.keys.key import is_token

_KEYS, _USERS = "LiteLLM_VerificationToken", "LiteLLM_UserTable"
_FIELDS = (
    "key_alias",
    "models",
    "max_budget",
    "budget_duration",
    "rpm_limit",
    "tpm_limit",
    "max_parallel_requests",
    "blocked",
)
_ALL_MODELS = "all-proxy-models"
_OF_A_KEY = frozenset({"guardrails", "models"})
"""Restrictions that a key may have here, and a user may not."""
_KNOWN = frozenset({*_FIELDS, "budget_reset_at", "expires", "metadata", "soft_budget_cooldown"})
"""Columns that are read, and those with the name of a restriction that are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteLLMKey:
    """A key of LiteLLM's proxy.

    Attributes:
        name: Its alias, else what LiteLLM shows of it.
        columns: Those of the same key here; `None` if it cannot do the same here.
        reason: Why not.
    """

    name: str
    columns: Mapping[str, Any] | None = field(default=None, repr=False)
    reason: str | None = None


def litellm_keys(database: Database, now: float) -> list[LiteLLMKey]:
    """The keys in the database of a LiteLLM proxy.

    Args:
        database: That of LiteLLM.
        now: Seconds since 1970.

    Raises:
        DatabaseError: It cannot be read.
        ConfigurationError: It is not that of a LiteLLM proxy.
    """
    with database.begin() as connection:
        if not sa.inspect(connection).has_table(_KEYS):
            raise ConfigurationError(f"the database {database} has no table {_KEYS}: name that of LiteLLM with --from")
        rows = [dict(row._mapping) for row in connection.execute(_all_of(connection, _KEYS))]
        users = sa.inspect(connection).has_table(_USERS)
        known = connection.execute(_all_of(connection, _USERS)) if users else ()
        limited = {row.user_id for row in known if _is_limited(row)}
    return [_key(row, limited, now) for row in rows]


def _all_of(connection: sa.Connection, table: str) -> sa.Select[Any]:
    return sa.select(sa.Table(table, sa.MetaData(), autoload_with=connection, resolve_fks=False))


def _is_limited(user: sa.Row[Any]) -> bool:
    metadata = user._mapping.get("metadata")
    given = {**(metadata if isinstance(metadata, dict) else {}), **user._mapping}
    set_ = {name for name, value in given.items() if value not in (None, "", [], {}, [_ALL_MODELS])}
    return any(name in _OF_A_KEY or restricts(name) for name in set_ - {"budget_duration", "budget_reset_at"})


def _key(row: Mapping[str, Any], limited: set[str], now: float) -> LiteLLMKey:
    name = str(row.get("key_alias") or row.get("key_name") or "a key without a name")
    try:
        reason = _fault(row, limited, now)
        columns = None if reason else _columns(row, now)
    except GatewayError as error:
        columns, reason = None, error.message
    return LiteLLMKey(name=name, columns=columns, reason=reason)


def _fault(row: Mapping[str, Any], limited: set[str], now: float) -> str | None:
    """Why a key cannot be the same here."""
    expires = _seconds(row.get("expires"))
    if not is_token(str(row["token"])):
        return "its token is not the SHA-256 of a key"
    if expires is not None and expires <= now:
        return "it has expired"
    if row.get("user_id") in limited:
        return "its user has a budget, a list of models or another limit, which is not supported"
    if not isinstance(row.get("metadata") or {}, dict):
        return "its metadata is not an object"
    restricting = sorted(name for name, value in (row.get("metadata") or {}).items() if value and restricts(name))
    return f"metadata.{restricting[0][:80]} is not supported" if restricting else None


def _columns(row: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The columns of the same key here. A budget that never starts anew is what is left of it.

    Raises:
        GatewayError: It is restricted in a way that is not supported.
    """
    given = {name: row[name] for name in _FIELDS if row.get(name) is not None}
    others = {name: value for name, value in row.items() if value and name not in _KNOWN and restricts(name)}
    if "max_budget" in given and "budget_duration" not in given:
        given["max_budget"] = max(0.0, given["max_budget"] - (row.get("spend") or 0.0))
    labels = {name: row[name] for name in ("user_id",) if row.get(name)}
    metadata = {**(row.get("metadata") or {}), **labels}
    columns = columns_of_key({**given, **others, "metadata": metadata}, now)
    name = str(row.get("key_name") or "sk-...")
    return {**columns, "token": str(row["token"]).lower(), "key_name": name, "expires": _seconds(row.get("expires"))}


def _seconds(moment: datetime | None) -> float | None:
    """Seconds since 1970; LiteLLM's times are in UTC, and may not say so."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
