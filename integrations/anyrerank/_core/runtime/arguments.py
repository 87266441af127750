"""Checks of numbers, names and paths that callers pass."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TypeGuard

from anyrerank.errors import ConfigurationError


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number: no bool, no NaN, no infinity, no int beyond the range of a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the name in `known` that is closest to it, if one is close."""
    return "".join(f"; did you mean {match}?" for match in difflib.get_close_matches(name, known, n=1))


def checked_path(path: object, name: str) -> str:
    """`path` as a string that a file system can hold.

    Args:
        path: What the caller passed.
        name: Name of the argument, for the error message.

    Raises:
        ConfigurationError: It is not a path.
    """
    found = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(found, str):
        raise ConfigurationError(f"{name} must be a str or a PathLike of str, got {type(found).__name__}")
    with suppress(UnicodeEncodeError):
        if b"\0" not in os.fsencode(found):
            return found
    raise ConfigurationError(f"{name} must not contain a NUL or an unpaired surrogate character")
