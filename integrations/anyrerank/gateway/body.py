"""Reads the body of a request within limits of size and time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import orjson
from starlette.types import Receive, Scope

from anyrerank.gateway.errors import GatewayError, bad_request

_NAMES = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
_REFUSED_TYPES = (b"application/xml", b"text/xml", b"multipart/")


class ClientGoneError(Exception):
    """The client closed its connection before it was answered."""


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of a name, or `None`."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


async def json_object(
    scope: Scope, receive: Receive, *, max_bytes: int, seconds: float, hold: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """The JSON object in the body of a request.

    Args:
        scope, receive: The request.
        max_bytes: How large it may be.
        seconds: How long it may take to arrive.
        hold: Gets the size of each part, and may refuse it.

    Raises:
        GatewayError: It is too large, too slow or no JSON object, or `hold` refused it.
        ClientGoneError: The client went away.
    """
    content_type = (header(scope, b"content-type") or "").lower().encode("latin-1")
    if content_type.startswith(_REFUSED_TYPES):
        raise GatewayError(
            kind="unsupported_media_type", message="the body must be JSON (content-type: application/json)"
        )
    try:
        content = await asyncio.wait_for(_content(scope, receive, max_bytes, hold), seconds)
    except (TimeoutError, asyncio.TimeoutError):
        raise GatewayError(
            kind="request_timeout",
            message=f"the body did not arrive within {seconds:g} seconds",
            headers={"connection": "close"},
        ) from None
    if not content.strip():
        raise bad_request("the body is empty: send a JSON object")
    body = _parsed(content)
    if not isinstance(body, dict):
        raise bad_request(f"the body must be a JSON object, got {_NAMES.get(type(body), 'a number')}")
    return body


async def _content(scope: Scope, receive: Receive, max_bytes: int, hold: Callable[[int], None] | None) -> bytes:
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if hold is not None:
            hold(len(part))
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(max_bytes: int) -> GatewayError:
    return GatewayError(
        kind="too_large",
        message=f"the body must be at most {max_bytes / 2**20:g} MiB: send fewer or shorter documents",
        headers={"connection": "close"},  # the rest of the body is not read
    )


def _parsed(content: bytes) -> Any:
    """The value in a body.

    Raises:
        GatewayError: It is not JSON; the message says where, and quotes nothing.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        wrong: json.JSONDecodeError = error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"the body must be a JSON object in UTF-8: byte {error.start + 1} is not UTF-8") from None
    try:  # orjson refuses half of a surrogate pair, which Python's and JavaScript's clients can send
        if "\\u" in text:
            return json.loads(text)
    except json.JSONDecodeError as error:
        wrong = error
    except (ValueError, RecursionError):
        pass
    where = f"line {wrong.lineno}, column {wrong.colno}"
    raise bad_request(f"the body must be a JSON object in UTF-8: it is not valid JSON at {where}")


def encoded(value: Any) -> bytes:
    """`value` as JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half of a surrogate pair in a document
        return json.dumps(value, allow_nan=False).encode()
