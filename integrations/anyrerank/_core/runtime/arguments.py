"""What callers pass as numbers and as paths, before anything is done with it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TypeGuard

from anyrerank.errors import ConfigurationError


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a number that a float can hold: no bool, no NaN, nothing infinite or beyond 1.8e308."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def checked_path(path: object, name: str) -> str:
    """A path that a file can have.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(f"{name} is a str or a PathLike, and not of type {type(path).__name__}")
    found = os.fspath(path)
    if not isinstance(found, str):
        raise ConfigurationError(f"{name} is a str or a PathLike of one: os.fsdecode makes one of bytes")
    with suppress(UnicodeEncodeError):
        if b"\0" not in os.fsencode(found):
            return found
    raise ConfigurationError(f"{name} holds a NUL or half a surrogate pair, which no name of a file does")
