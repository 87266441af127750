"""Forms that evaluation data can have, and errors for all others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from anyrerank.errors import BadRequestError


def by_id(value: object, name: str, example: str) -> Mapping[str, Any]:
    """A mapping whose keys are ids; a pandas `Series` is one too.

    Args:
        value: What the caller passed.
        name: What it is, for errors.
        example: How it should look, for errors.

    Raises:
        BadRequestError: It is not a mapping, or an id is not a string.
    """
    if not isinstance(value, Mapping):
        if not hasattr(value, "items"):
            raise BadRequestError(f"{name} must be a mapping such as {example}, got {type(value).__name__}")
        value = dict(value.items())
    if wrong := [type(key).__name__ for key in value if not isinstance(key, str)]:
        raise BadRequestError(
            f"the ids in {name} must be strings, got {wrong[0]}: convert them with str(), in queries, "
            "documents, labels and candidates alike"
        )
    return value


def grades_of(value: object, name: str) -> Mapping[str, Any]:
    """Grades by document id, as in `by_id`; a list of ids stands for the grade 1 of each.

    Raises:
        BadRequestError: It is a single string, or no collection, or an id is not a string.
    """
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return by_id(value, name, "{'d1': 1}")
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise BadRequestError(f"{name} must be a list of ids, or grades by id, got {type(value).__name__}")
    return by_id({each if isinstance(each, str) else 0: 1 for each in value}, name, "{'d1': 1}")


def ids_of(value: object, name: str) -> list[Any]:
    """A list of document ids.

    Raises:
        BadRequestError: It is a single string, a mapping or a set, which have no order of documents, or no collection.
    """
    if isinstance(value, str | Mapping | set | frozenset) or not isinstance(value, Iterable):
        raise BadRequestError(f"{name} must be a list of document ids, best first, got {type(value).__name__}")
    return list(value)


def is_missing(text: object) -> bool:
    """Whether a text is missing: `None`, or the NaN or NA of a data frame."""
    return text is None or (isinstance(text, float) and math.isnan(text)) or type(text).__name__ == "NAType"


def check_text(text: object, where: str, *, mapping: bool = False) -> None:
    """Refuse what is not a text, unless it is missing.

    Args:
        text: What the caller passed.
        where: Where it is, for the error.
        mapping: Whether a mapping is accepted, too.

    Raises:
        BadRequestError: It is something else.
    """
    if isinstance(text, str) or is_missing(text) or (mapping and isinstance(text, Mapping)):
        return
    kinds = "a string or a mapping with a 'text'" if mapping else "a string"
    raise BadRequestError(f"{where} must be {kinds}, got {type(text).__name__}")
