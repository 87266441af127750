"""What a request about keys was about, for the access log: never a key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from anyrerank.gateway.keys.fields import CustomerFields, KeyFields
from anyrerank.gateway.keys.key import tag_of, token_of
from anyrerank.gateway.keys.keyring import Keyring

if TYPE_CHECKING:
    from anyrerank.gateway.keys.admin_requests import AdminRequest

_EFFECTIVE = {"guardrails", "end_user"}
"""Fields of `metadata` that decide about calls; they may also stand outside of it."""
_SHOWN = (KeyFields.model_fields.keys() | CustomerFields.model_fields.keys() | _EFFECTIVE) - {"metadata"}
"""Fields whose values are shown; of others, which a client may call as it likes, not even the name."""


def details_of(admin: AdminRequest) -> dict[str, Any]:
    """The keys that a request names, as their tags in the ledger, and the fields that it sets."""
    body, params = admin.body, admin.params
    listed, aliases = body.get("keys"), body.get("key_aliases")
    named = [
        admin.key,
        body.get("key"),
        params.get("key"),
        params.get("api_key"),
        *(listed if isinstance(listed, list) else ()),
    ]
    return {
        "about": [_tag(admin.keyring, each) for each in named if isinstance(each, str) and each] or None,
        "aliases": aliases if isinstance(aliases, list) else None,
        "fields": {**_only(body, _SHOWN), **_metadata(body)} or None,
    }


def _only(given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in names}


def _metadata(body: Mapping[str, Any]) -> dict[str, Any]:
    """That `metadata` was set, with what of it decides about calls."""
    if "metadata" not in body:
        return {}
    given = body["metadata"]
    return {"metadata": _only(given, _EFFECTIVE) if isinstance(given, dict) else None}


def names_in(answer: Any, keyring: Keyring) -> dict[str, Any]:
    """The alias and the tag of the key in an answer, such as that of a key that was just made."""
    if not isinstance(answer, dict) or not isinstance(answer.get("token"), str):
        return {}
    return {"about": [_tag(keyring, answer["token"])], "alias": answer.get("key_alias")}


def _tag(keyring: Keyring, key: str) -> str:
    token = token_of(key)
    account = keyring.account(token)
    return tag_of(token) if account is None else account.key.tag
