"""Keys and entries of the tests of the stores."""

from __future__ import annotations

import hashlib

TTL = 10


def key(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def numbered(start: int, end: int, size: int = 12) -> dict[bytes, bytes]:
    """Entries in order, each with a value that tells whose it is."""
    return {key(number): key("value", number)[:12].ljust(size, b".") for number in range(start, end)}
