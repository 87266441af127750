"""Paths of requests: those with a part too many, such as `/v1/v1/rerank`, and those that may hold a key."""

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
_SHOWN = 200
_WORD = re.compile(r"(?!sk-)[A-Za-z_.-]{1,24}|v\d{1,2}|\{\w+\}", re.ASCII)
"""A part of a path that cannot be a key."""
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
    """What to ask in the place of a path that is not served, as the end of a message.

    Args:
        path: Of the request.
        served: The paths of the routes with its method.
    """
    if _OTHER_SERVICES & set(path.lower().split("/")):
        return "; only reranking is served, at /v1/rerank and the routes in /openapi.json"
    near = difflib.get_close_matches(path[:_LONGEST], served, 1, _CLOSE)
    return f"; the nearest route is {near[0]}" if near else "; /openapi.json lists the routes"


def without_secrets(path: str) -> str:
    """A path for answers and logs, in which `***` stands for each part that may be a key."""
    parts = path[:_SHOWN].split("/")
    return "/".join(part if not part or _WORD.fullmatch(part) else "***" for part in parts)
