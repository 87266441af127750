"""Reading an error response: its message, code and request id."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

import orjson

from anyrerank._core.runtime import HttpResponse
from anyrerank.providers._base.answers import dig


def message_in(body: Any, content: bytes) -> str:
    """The provider's own words in an error body, whatever its shape; of validation lists only place and message."""
    for path in (
        ("error", "message"),
        ("error", "reason"),
        ("error",),
        ("detail", "error"),
        ("detail",),
        ("errors",),
        ("message",),
        ("Message",),
        ("title",),
        ("errorMessage",),
    ):
        found = dig(body, *path)
        if isinstance(found, str) and found.strip():
            return found.strip()
        if isinstance(found, list) and found:
            return "; ".join(_validation_line(item) for item in found[:5])
    return " ".join(content[:10_000].decode("utf-8", "replace").split())


def _validation_line(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    place = item.get("loc")
    prefix = f"{'.'.join(map(str, place))}: " if isinstance(place, list) else ""
    return f"{prefix}{item.get('msg') or item.get('message') or 'refused'}"


def json_or_none(content: bytes) -> Any:
    """The JSON in `content`, or `None` where it is none."""
    try:
        return orjson.loads(content)
    except ValueError:
        return None


def request_id_in(body: Any) -> str | None:
    """The id of a request in an error body."""
    for name in ("requestId", "request_id", "trace", "id"):
        found = dig(body, name)
        if isinstance(found, str) and found:
            return found
    return None


def error_code_in(body: Any) -> str | None:
    """The short name of an error in an error body, such as `rate_limit_exceeded`."""
    for path in (("error", "code"), ("error", "type"), ("error", "status"), ("code",), ("errorCode",), ("type",)):
        found = dig(body, *path)
        if isinstance(found, str):
            return found
    return None


def start_of(response: HttpResponse) -> str:
    """What an answer that is not JSON begins with, without quoting it."""
    start = response.content[:64].lstrip().lower()
    if not response.content:
        return "nothing: the body is empty"
    if start.startswith(b"<"):
        return "'<': an HTML page"
    kind = response.headers.get("content-type", "unknown type")
    return f"something else ({len(response.content)} bytes of {kind})"


def host_of(location: str) -> str:
    """Where a redirect leads."""
    return urlsplit(location).netloc.rpartition("@")[2] or "the same host"


def query_values(url: str) -> Iterator[str]:
    """What may be secret in a query string, with a plus sign as one and as the space that it is in a form."""
    for pair in urlsplit(url).query.split("&"):
        name, _, value = pair.partition("=")
        if not name.endswith("version"):
            yield from (unquote(value), unquote_plus(value))


def login_in(header: str) -> tuple[str, ...]:
    """User and password of a Basic header, together and apart."""
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        return ()
    try:
        login = base64.b64decode(encoded).decode()
    except ValueError:
        return ()
    return (login, *login.split(":", 1))
