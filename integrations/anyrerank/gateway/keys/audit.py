"""What a request about keys was about, for the access log: never a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyrerank.gateway.keys.fields import CustomerFields, KeyFields
from anyrerank.gateway.keys.key import tag_of, token_of

_SHOWN = (KeyFields.model_fields.keys() | CustomerFields.model_fields.keys()) - {"metadata"}
"""Fields whose values are shown; of others, which a client may call as it likes, not even the name."""


def details_of(body: Mapping[str, Any], params: Mapping[str, str], key: str | None) -> dict[str, Any]:
    """The keys that a request names, as their tags in the ledger, and the fields that it sets.

    Args:
        body: The fields of its body.
        params: Those of its query string.
        key: The key in its path.
    """
    listed = body.get("keys")
    named = [
        key,
        body.get("key"),
        params.get("key"),
        params.get("api_key"),
        *(listed if isinstance(listed, list) else ()),
    ]
    tags = [tag_of(token_of(each)) for each in named if isinstance(each, str) and each]
    aliases = body.get("key_aliases")
    fields = {name: value for name, value in body.items() if name in _SHOWN}
    return {"about": tags or None, "aliases": aliases if isinstance(aliases, list) else None, "fields": fields or None}


def names_in(answer: Any) -> dict[str, Any]:
    """The alias and the tag of the key in an answer, such as that of a key that was just made."""
    if not isinstance(answer, dict) or not isinstance(answer.get("token"), str):
        return {}
    return {"about": [tag_of(answer["token"])], "alias": answer.get("key_alias")}
