"""JSON of requests and responses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import orjson

from anyrerank._core.types import RerankRequest, repaired_tree

_NO_NUMBER = re.compile(rb"([:\[,]\s*)-?(?:nan|inf)(?:\(\w*\))?(?=\s*[,\]}])")
"""What C and C++ write for NaN and infinite numbers."""


def encoded(body: Mapping[str, Any]) -> bytes:
    """`body` as JSON; unpaired surrogates are replaced only where there are some: copying every body is slow.

    Raises:
        TypeError, RecursionError: It holds a value that JSON does not have.
    """
    try:
        return orjson.dumps(body, default=_plain)
    except TypeError:
        return orjson.dumps(repaired_tree(body), default=_plain)


def parsed(content: bytes) -> Any:
    """The JSON in a response, with NaN, infinite numbers and half characters, which some servers write.

    Raises:
        ValueError, RecursionError: It is not JSON.
    """
    try:
        return orjson.loads(content)
    except ValueError:
        return json.loads(_NO_NUMBER.sub(rb"\1NaN", content))


def culprit(request: RerankRequest) -> str:
    """What of a request cannot be encoded."""
    for index, document in enumerate(request.documents):
        if isinstance(document, Mapping):
            for name, value in dict[Any, Any](document).items():
                if not isinstance(name, str):
                    return f"documents[{index}] has a field whose name is a {type(name).__name__}, not a string"
                if not _is_encodable(value):
                    return f"documents[{index}] has a field {str(name)[:40]!r} that is a {type(value).__name__}"
    names = [name for name, value in {**request.options, **request.extra_body}.items() if not _is_encodable(value)]
    return f"{', '.join(names) or 'an option'} holds a value that JSON does not have"


def _is_encodable(value: Any) -> bool:
    try:
        encoded({"": value})
    except (TypeError, RecursionError):
        return False
    return True


def _plain(value: Any) -> Any:
    """A value that JSON does not have as one that it has: a mapping of any kind, of NumPy, a set, a number or path."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, Decimal | PurePath):
        return str(value)
    raise TypeError
