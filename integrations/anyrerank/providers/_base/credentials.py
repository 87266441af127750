"""The secrets of a connection: everything that authenticates, whole and in parts."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, unquote_plus, urlsplit

from anyrerank.providers._base.connection import Connection, Setting

_PUBLIC_HEADERS = frozenset({"accept", "content-type", "user-agent"})
_MIN_LENGTH = 8
"""Shorter values of other headers and of query strings are ordinary words, which would hide too many messages."""


def secrets_of(
    connection: Connection,
    *,
    settings: Mapping[str, Setting],
    key_headers: Iterable[str],
    authorization: Iterable[str],
) -> list[str]:
    """The secrets that no error may quote, the longest first.

    Args:
        connection: Has the key, headers and settings.
        settings: The provider's settings.
        key_headers: Names of the headers that may hold a key, in lower case.
        authorization: Values of the headers that authenticate a request.
    """
    headers = {name.lower(): value for name, value in connection.headers.items()}
    keys = [*authorization, *(headers[name] for name in key_headers if name in headers)]
    others = [value for name, value in headers.items() if name not in {*key_headers, *_PUBLIC_HEADERS}]
    others += _query_values(connection.api_base or "")
    found = {connection.api_key or ""}
    found.update(str(value) for name, value in connection.settings.items() if settings[name].secret)
    found.update(part for value in keys for part in (value, *value.split()[1:]))
    found.update(part for value in others for part in (value, *value.split()) if len(part) >= _MIN_LENGTH)
    found.update(part for value in headers.values() for part in _login_in(value))
    return sorted(found - {""}, key=len, reverse=True)


def _query_values(url: str) -> Iterator[str]:
    """Values of a query string, with a plus sign and with the space that it stands for."""
    for pair in urlsplit(url).query.split("&"):
        name, _, value = pair.partition("=")
        if not name.endswith("version"):
            yield from (unquote(value), unquote_plus(value))


def _login_in(header: str) -> tuple[str, ...]:
    """User and password of a Basic header, together and separate."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ()
    try:
        login = base64.b64decode(encoded).decode()
    except ValueError:
        return ()
    return (login, *login.split(":", 1))
