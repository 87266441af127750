"""What a provider says when it refuses, without what it quotes of our request."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from anyrerank.providers._answers import dig
from anyrerank.schema import RerankRequest
from anyrerank.wire import HttpResponse


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


REDACTED = "[...]"
"""What stands in a message for what was taken out of it."""


def redact(message: str, secrets: Iterable[str], request: RerankRequest) -> str:
    """`message`, at most 300 characters of it, without the secrets and without what it quotes of query and documents.

    Servers quote their input in errors. A quotation is the whole of a text, or 12 characters of one in a row; it may be
    escaped, or have its white space folded.
    """
    texts = [form for text in _texts(request) for form in _forms(text)]
    message = _without(_without(message, secrets)[:600], texts)
    haystack = "\0".join(texts)
    quoted = bytearray(len(message))
    for start in range(len(message) - _QUOTED + 1):
        if message[start : start + _QUOTED] in haystack:
            quoted[start : start + _QUOTED] = b"\1" * _QUOTED
    marked = "".join("\0" if mark else letter for letter, mark in zip(message, quoted, strict=True))
    return re.sub("\0+", REDACTED, marked)[:300]


_QUOTED = 12


def _without(message: str, texts: Iterable[str]) -> str:
    for text in texts:
        if len(text) > 3:
            message = message.replace(text, REDACTED)
    return message


def _texts(request: RerankRequest) -> Iterator[str]:
    yield request.query
    for document in request.documents:
        if isinstance(document, str):
            yield document
        else:
            yield from map(str, document.values())


def _forms(text: str) -> set[str]:
    """`text` in the forms in which it comes back: as it is, folded, and escaped as JSON or as Python."""
    return {text, " ".join(text.split()), json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}


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
