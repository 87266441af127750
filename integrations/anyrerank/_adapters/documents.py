"""Helpers to convert the documents of a framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from anyrerank.errors import BadRequestError

T = TypeVar("T")


def as_list(items: Iterable[T]) -> list[T]:
    """`items` as a list, which can be read more than once.

    Raises:
        BadRequestError: They are not a collection.
    """
    if not isinstance(items, Iterable):
        raise BadRequestError(f"what is reranked must be a list, got {type(items).__name__}")
    return items if isinstance(items, list) else list(items)


def projected(document: Mapping[str, Any], rank_fields: Sequence[str]) -> dict[str, str]:
    """The `rank_fields` of a document as strings, without those that are missing or `None`."""
    return {name: str(document[name]) for name in rank_fields if document.get(name) is not None}
