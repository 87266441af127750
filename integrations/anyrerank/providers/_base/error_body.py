"""Reading the body of an error response: its message, error code and request id."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from anyrerank._core.runtime import HttpResponse
from anyrerank.providers._base.answers import dig

_MESSAGES = (
    ("error", "message"),
    ("error", "msg"),
    ("error", "reason"),
    ("error", "detail"),
    ("error",),
    ("detail", "error"),
    ("detail", "message"),
    ("detail", "msg"),
    ("detail",),
    ("errors", "message"),
    ("errors",),
    ("Error", "Message"),
    ("fault", "faultstring"),
    ("status", "message"),
    ("base_resp", "status_msg"),
    ("error_description",),
    ("message",),
    ("Message",),
    ("msg",),
    ("error_msg",),
    ("error_message",),
    ("errmsg",),
    ("err_msg",),
    ("reason",),
    ("description",),
    ("title",),
    ("errorMessage",),
    ("data", "message"),
    ("result", "message"),
)
_CODES = (("error", "code"), ("error", "type"), ("error", "status"), ("code",), ("errorCode",), ("type",))
_REQUEST_IDS = (("requestId",), ("request_id",), ("trace",), ("id",))


def json_or_none(content: bytes) -> Any:
    """The JSON value in `content`, or `None` if it is not JSON."""
    try:
        return orjson.loads(content)
    except ValueError:
        return None


def message_in(body: Any, content: bytes) -> str:
    """The error message in a response, or its text if it has no known shape.

    Of a list of validation errors, only locations and messages are read: the rest quotes the request.
    """
    if isinstance(body, str):
        return body.strip()
    if isinstance(body, list) and body:
        return message_in(body[0], b"")
    for path in _MESSAGES:
        found = dig(body, *path)
        if isinstance(found, str) and found.strip():
            return found.strip()
        if isinstance(found, list) and found:
            return "; ".join(_validation_error(item) for item in found[:5])
    return _anywhere(body, 3) or _text_of(content)


def _text_of(content: bytes) -> str:
    text = " ".join(content[:10_000].decode("utf-8", "replace").split())
    if text in _EMPTY:
        return ""
    return _page(text) if text.startswith("<") else text


_WORDS = re.compile(
    r"\w*(?:message|msg|err|error|reason|exception|fault|faultstring|detail)s?|cause|description|info", re.IGNORECASE
)


def _anywhere(body: Any, depth: int) -> str:
    """The first text whose name is like that of a message, at most `depth` objects deep; results are not read."""
    if not isinstance(body, Mapping) or not depth:
        return ""
    first = {name: value[0] if isinstance(value, list) and value else value for name, value in body.items()}
    named = [value for name, value in first.items() if _WORDS.fullmatch(name)]
    words = [value.strip() for value in named if isinstance(value, str)]
    inside = [value for value in (*named, *body.values()) if isinstance(value, Mapping)]
    return next(filter(None, (*words, *(_anywhere(value, depth - 1) for value in inside))), "")


_EMPTY = frozenset({"{}", "[]", "null"})
_TITLE = re.compile(r"<title[^>]*>([^<]*)</title>", re.IGNORECASE)


def _page(text: str) -> str:
    """An HTML page, such as one of a proxy, by its title."""
    title = _TITLE.search(text)
    return f"an HTML page: {title[1].strip()}" if title and title[1].strip() else "an HTML page"


def _validation_error(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    location = item.get("loc")
    prefix = f"{'.'.join(map(str, location))}: " if isinstance(location, list) else ""
    return f"{prefix}{item.get('msg') or item.get('message') or 'invalid'}"


def error_code_in(body: Any) -> str | None:
    """The provider's short name for an error, such as `rate_limit_exceeded`."""
    return _first_string(body, _CODES)


def request_id_in(body: Any) -> str | None:
    """The id of the request, for providers that write it into the body of an error."""
    return _first_string(body, _REQUEST_IDS)


def _first_string(body: Any, paths: Sequence[tuple[str, ...]]) -> str | None:
    values = (dig(body, *path) for path in paths)
    return next((value for value in values if isinstance(value, str) and value), None)


def description_of(response: HttpResponse) -> str:
    """A description of a body that is not JSON, without quoting it."""
    if not response.content:
        return "an empty body"
    if response.content[:64].lstrip().startswith(b"<"):
        return "an HTML page"
    kind = response.headers.get("content-type", "unknown type")
    return f"{len(response.content)} bytes of {kind}"


def plain_text(response: HttpResponse) -> bytes:
    """A body that is a few words of text, and nothing if it is something else."""
    content = response.content
    is_text = content[:1].isalpha() and len(content) <= _FEW_WORDS and content.isascii()
    return content if is_text and json_or_none(content) is None else b""


_FEW_WORDS = 300
"""Bytes."""


def redirect_host(response: HttpResponse) -> str:
    """The host that a redirect leads to."""
    try:
        location = urlsplit(response.headers.get("location", ""))
    except ValueError:
        return "a malformed address"
    return location.netloc.rpartition("@")[2] or "the same host"
