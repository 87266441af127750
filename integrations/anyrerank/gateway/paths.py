"""Paths as clients make them from base URLs with a part too many, such as `/v1/v1/rerank` and `//rerank`."""

from __future__ import annotations

import re

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
