"""LiteLLM's routes for spend, over the ledger.

Source: https://docs.litellm.ai/docs/proxy/cost_tracking
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from anyrerank.gateway.errors import bad_request
from anyrerank.gateway.keys.account import Account
from anyrerank.gateway.keys.asking import Ask
from anyrerank.gateway.keys.key import Key
from anyrerank.ledger import By, Spend

_GROUPS: Mapping[str, By] = {
    "api_key": "tag",
    "customer": "user",
    "date": "day",
    "deployment": "deployment",
    "model": "model",
    "provider": "provider",
    "user": "user",
}


def spend_logs(ask: Ask) -> Any:
    """What was spent for each day, model and end user; with a key that is not the master key, by that key."""
    return _rows(ask, ("day", "model", "user"), tag=_tag(ask))


def spend_of_keys(ask: Ask) -> Any:
    """What each key has spent; with a key that is not the master key, only that one."""
    return _rows(ask, ("tag",), tag=_tag(ask))


def spend_of_users(ask: Ask) -> Any:
    """What each end user has spent; with a key that is not the master key, by that key."""
    return _rows(ask, ("user",), tag=_tag(ask))


def global_report(ask: Ask) -> Any:
    """What was spent, in groups."""
    name = ask.params.get("group_by", "model")
    if name not in _GROUPS:
        raise bad_request(f"group_by must be one of {', '.join(_GROUPS)}, got {name[:40]!r}", "group_by")
    return _rows(ask, ("day", _GROUPS[name]) if name != "date" else ("day",), tag=None)


def _tag(ask: Ask) -> str | None:
    """The tag of the calls that count."""
    key = ask.params.get("api_key")
    return None if key is None and ask.caller.is_master else ask.account(key).key.tag


def _rows(ask: Ask, by: Sequence[By], *, tag: str | None) -> list[dict[str, Any]]:
    spends = ask.keyring.ledger.spend(
        by,
        since=_day(ask, "start_date"),
        until=_day(ask, "end_date"),
        user=ask.params.get("user_id") or ask.params.get("end_user"),
        tag=tag,
        model=ask.params.get("model"),
    )
    keys = {each.key.tag: each for each in ask.keyring.accounts()}
    return [_row(each, keys) for each in spends]


def _row(spend: Spend, keys: Mapping[str, Account]) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for by, value in spend.group.items():
        if by == "tag":
            groups |= _names(None if value is None or value not in keys else keys[value].key, value)
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
    """What a key is called; only the tag is left of one that was deleted."""
    if key is None:
        return {"token": None, "key_alias": None, "key_name": None, "tag": tag}
    return {"token": key.token, "key_alias": key.key_alias, "key_name": key.key_name, "tag": tag}


def _day(ask: Ask, name: str) -> date | None:
    text = ask.params.get(name)
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise bad_request(f"{name} must be a day such as 2026-11-01", name) from None
