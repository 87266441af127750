"""The routes for keys, end users and spend, as OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from anyrerank.gateway.keys.fields import CustomerFields, KeyFields
from anyrerank.gateway.keys.spend_routes import FILTERS

_KEY = {"key": {"type": "string", "description": "The key, or its token."}}
_CHOSEN = {"type": ["string", "null"], "minLength": 20, "pattern": "^sk-", "description": "A key of your own choice."}
_FURTHER: Mapping[str, Mapping[str, Any]] = {
    "/key/generate": {"key": _CHOSEN},
    "/key/update": _KEY,
    "/key/regenerate": {**_KEY, "new_key": _CHOSEN},
    "/key/{key}/regenerate": {"new_key": _CHOSEN},
}
"""Fields apart from those of a key."""
_LISTS = {
    "/key/delete": ("keys", "key_aliases"),
    "/customer/delete": ("user_ids",),
}
_POSTS: Mapping[str, tuple[str, type[BaseModel] | None]] = {
    "/key/generate": ("Make a key.", KeyFields),
    "/key/update": ("Change a key.", KeyFields),
    "/key/regenerate": ("Give a key a new secret; what it may do and has spent stays.", KeyFields),
    "/key/{key}/regenerate": ("Give a key a new secret; what it may do and has spent stays.", KeyFields),
    "/key/block": ("Refuse a key until it is unblocked.", None),
    "/key/unblock": ("Let a key in again.", None),
    "/key/delete": ("Revoke keys for ever.", None),
    "/customer/new": ("Give an end user a budget, or block it.", CustomerFields),
    "/customer/update": ("Change an end user.", CustomerFields),
    "/customer/delete": ("Forget end users.", None),
}
_GETS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "/key/info": ("A key, and what it has spent; by default the one that asks.", ("key",)),
    "/key/list": ("The keys.", ("key_alias", "user_id", "page", "size", "return_full_object")),
    "/customer/info": ("An end user, and what it has spent.", ("end_user_id",)),
    "/spend/logs": ("What was spent, by day, model and end user.", FILTERS),
    "/spend/keys": ("What each key has spent.", FILTERS),
    "/spend/users": ("What each end user has spent.", FILTERS),
    "/global/spend/report": ("What was spent, by day and groups, such as api_key,model.", (*FILTERS, "group_by")),
}


def described_routes(errors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The paths, for the description of the service.

    Args:
        errors: The answers to requests that are refused.
    """
    posts = {
        path: {"post": _operation(summary, errors, {**_in_path(path), **_body(path, model)})}
        for path, (summary, model) in _POSTS.items()
    }
    gets = {
        path: {"get": _operation(summary, errors, {"parameters": list(_parameters(names))})}
        for path, (summary, names) in _GETS.items()
    }
    return {**posts, **gets}


def _operation(summary: str, errors: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    answer = {"description": "OK", "content": {"application/json": {"schema": {}}}}
    return {"summary": summary, "tags": ["keys and spend"], **more, "responses": {"200": answer, **errors}}


def _body(path: str, model: type[BaseModel] | None) -> dict[str, Any]:
    if model is not None:
        schema = model.model_json_schema()
        schema["properties"] = {**_FURTHER.get(path, {}), **schema["properties"]}
    elif path in _LISTS:
        strings = {"type": "array", "items": {"type": "string"}}
        schema = {"type": "object", "properties": dict.fromkeys(_LISTS[path], strings)}
    else:
        schema = {"type": "object", "required": ["key"], "properties": _KEY}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _in_path(path: str) -> dict[str, Any]:
    if "{key}" not in path:
        return {}
    return {"parameters": [{"name": "key", "in": "path", "required": True, "schema": _KEY["key"]}]}


def _parameters(names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for name in names:
        yield {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
