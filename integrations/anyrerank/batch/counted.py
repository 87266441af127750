"""Numbers with their nouns."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number and a noun: `1 row`, `5,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
