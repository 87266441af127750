"""What a provider says when it refuses, without what it quotes of our request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from anyrerank.providers._answers import dig
from anyrerank.schema import Document, RerankRequest
from anyrerank.wire import HttpResponse


def message_in(body: Any, content: bytes) -> str:
    """The provider's own words in an error body, whatever its shape; of validation lists only place and message."""
    for path in (
        ("error", "message"),
        ("error",),
        ("detail", "error"),
        ("detail",),
        ("errors",),
        ("message",),
        ("Message",),
        ("title",),
    ):
        found = dig(body, *path)
        if isinstance(found, str) and found.strip():
            return found.strip()
        if isinstance(found, list) and found:
            return "; ".join(_validation_line(item) for item in found[:5])
    return " ".join(content[:1200].decode("utf-8", "replace").split())[:300]


def _validation_line(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)[:200]
    place = item.get("loc")
    prefix = f"{'.'.join(map(str, place))}: " if isinstance(place, list) else ""
    return f"{prefix}{item.get('msg') or item.get('message') or 'refused'}"


REDACTED = "[...]"


def redact(message: str, secrets: Iterable[str | None], request: RerankRequest) -> str:
    """`message` (at most 300 characters of it) without the key, and without anything of the query and documents.

    Servers quote their input in errors. A run of words is taken for a quotation when it is the whole query or document,
    or when 24 characters of it in a row are.
    """
    message = message[:400]
    for secret in secrets:
        if secret and len(secret) > 3:
            message = message.replace(secret, REDACTED)
    texts = [request.query, *(_all_text(document) for document in request.documents)]
    for text in texts:
        if len(text) > 3 and text in message:
            message = message.replace(text, REDACTED)
    haystack = "\0".join(texts)
    quoted = bytearray(len(message))
    for start in range(len(message) - 23):
        if message[start : start + 24] in haystack:
            quoted[start : start + 24] = b"\1" * 24
    kept = "".join("\0" if mark else letter for letter, mark in zip(message, quoted, strict=True))
    return REDACTED.join(part for part in _split_runs(kept))[:300]


def _split_runs(text: str) -> list[str]:
    parts, inside = [""], False
    for letter in text:
        if letter != "\0":
            parts[-1] += letter
        elif not inside:
            parts.append("")
        inside = letter == "\0"
    return parts


def _all_text(document: Document) -> str:
    return document if isinstance(document, str) else "\0".join(str(value) for value in document.values())


def json_or_none(content: bytes) -> Any:
    """The JSON in `content`, or `None` where it is none."""
    try:
        return orjson.loads(content)
    except ValueError:
        return None


def request_id_in(body: Any) -> str | None:
    """The id of a request in an error body."""
    for name in ("requestId", "request_id", "id"):
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
