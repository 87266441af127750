"""Correcting paths of clients whose base URL has a part too many, such as `/v1/v1/rerank` and `//rerank`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

_OTHER_SERVICES = frozenset(
    {"chat", "completions", "embeddings", "embed", "responses", "messages", "images", "audio", "moderations"}
)
_CLOSE = 0.7
_LONGEST = 100
_OPERATIONS = "(?:/(?:rerank|reranking|reranks|ranking|score))"
_SLASHES = re.compile("/{2,}")
_BEFORE_VERSION = re.compile(rf"(?:/v\d)?{_OPERATIONS}?(?=/v\d/)")
_REPEATED = re.compile(rf"({_OPERATIONS})\1+$")


def without_slashes(path: str) -> str:
    """A path without doubled slashes and without one at its end."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def without_repeats(path: str) -> str:
    """A path in which a version or an operation follows another one: the last one counts."""
    return _REPEATED.sub(r"\1", _BEFORE_VERSION.sub("", path))


def instead_of(path: str, served: Sequence[str]) -> str:
    """What to ask in the place of a path that is not served, as the end of a message; nothing if that is not known."""
    if _OTHER_SERVICES & set(path.lower().split("/")):
        return "; only reranking is served, at /v1/rerank and the routes in /openapi.json"
    near = difflib.get_close_matches(path[:_LONGEST], served, 1, _CLOSE)
    return f"; the nearest route is {near[0]}" if near else "; /openapi.json lists the routes"
