"""LiteLLM's routes for spend, over the ledger.

Source: https://docs.litellm.ai/docs/proxy/cost_tracking
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from anyrerank.gateway.errors import bad_request
from anyrerank.gateway.http import without_secrets
from anyrerank.gateway.keys.admin_requests import AdminRequest
from anyrerank.gateway.keys.key import Key
from anyrerank.ledger import By, Spend

_GROUPS: Mapping[str, By] = {
    "api_key": "tag",
    "customer": "user",
    "date": "day",
    "deployment": "deployment",
    "key": "tag",
    "model": "model",
    "provider": "provider",
    "user": "user",
}

FILTERS = ("start_date", "end_date", "api_key", "user_id", "end_user", "model")
"""Names in the query string that say which calls count."""


def spend_logs(admin: AdminRequest) -> Any:
    """What was spent for each day, model and end user; with a key that is not the master key, by that key."""
    return _rows(admin, ("day", "model", "user"), tag=_tag(admin))


def spend_of_keys(admin: AdminRequest) -> Any:
    """What each key has spent; with a key that is not the master key, only that one."""
    return _rows(admin, ("tag",), tag=_tag(admin))


def spend_of_users(admin: AdminRequest) -> Any:
    """What each end user has spent; with a key that is not the master key, by that key."""
    return _rows(admin, ("user",), tag=_tag(admin))


def global_report(admin: AdminRequest) -> Any:
    """What was spent, for each day and group."""
    names = admin.params.get("group_by", "model").split(",")
    for name in names:
        if name not in _GROUPS:
            raise bad_request(f"group_by must be one or several of {', '.join(_GROUPS)}, got {name[:40]!r}", "group_by")
    groups = tuple(dict.fromkeys(("day", *(_GROUPS[name] for name in names))))
    return _rows(admin, groups, tag=_tag(admin), others=("group_by",))


def _tag(admin: AdminRequest) -> str | None:
    """The tag of the calls that count."""
    key = admin.params.get("api_key")
    return None if key is None and admin.caller.is_master else admin.account(key).key.tag


def _rows(
    admin: AdminRequest, by: Sequence[By], *, tag: str | None, others: Sequence[str] = ()
) -> list[dict[str, Any]]:
    known = (*FILTERS, *others)
    if unknown := sorted(admin.params.keys() - set(known)):
        name = without_secrets(unknown[0][:40])
        raise bad_request(
            f"there is no filter {name}, and without it the answer would be about other calls; there are "
            f"{', '.join(known)}. Calls are not kept one by one: the access log has each with its request id",
            name,
        )
    spends = admin.keyring.ledger.spend(
        by,
        since=_day(admin, "start_date"),
        until=_day(admin, "end_date"),
        user=admin.params.get("user_id") or admin.params.get("end_user"),
        tag=tag,
        model=admin.params.get("model"),
    )
    keys = {each.key.tag: each.key for each in admin.keyring.accounts()}
    if {spend.group.get("tag") for spend in spends} - keys.keys() - {None}:
        keys = {each.tag: each for each in admin.keyring.store.deleted()} | keys
    return [_row(each, keys) for each in spends]


def _row(spend: Spend, keys: Mapping[str, Key]) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for by, value in spend.group.items():
        if by == "tag":
            groups |= _names(keys.get(value or ""), value)
        else:
            groups[{"day": "date"}.get(by, by)] = value
    return {
        **groups,
        "spend": spend.cost,
        "calls": spend.calls,
        "calls_of_unknown_cost": spend.unknown,
        "requests": spend.requests,
        "failed_requests": spend.failures,
        "documents": spend.documents,
        "search_units": spend.search_units,
        "total_tokens": spend.tokens,
        "saved": spend.saved,
    }


def _names(key: Key | None, tag: str | None) -> dict[str, Any]:
    """What a key is called, or was before it was deleted; other tags are those of the master key and of networks."""
    if key is None:
        return {"token": None, "key_alias": None, "key_name": None, "tag": tag}
    return {"token": key.token, "key_alias": key.key_alias, "key_name": key.key_name, "tag": tag}


def _day(admin: AdminRequest, name: str) -> date | None:
    text = admin.params.get(name)
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise bad_request(f"{name} must be a day such as 2026-11-01", name) from None
