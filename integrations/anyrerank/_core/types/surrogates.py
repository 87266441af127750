"""Replacing unpaired surrogates, which text from PDFs may contain and UTF-8 cannot encode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def repaired(text: str) -> str:
    """`text` with U+FFFD for each unpaired surrogate, and the character that each pair of them stands for."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def repaired_tree(value: Any) -> Any:
    """A copy of JSON-like data whose strings are `repaired`."""
    if isinstance(value, str):
        return repaired(value)
    if isinstance(value, Mapping):
        return {repaired_tree(key): repaired_tree(each) for key, each in value.items()}
    return [repaired_tree(each) for each in value] if isinstance(value, list | tuple) else value
