"""Reading an answer: every part is checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from anyrerank._core.types import BilledUnits, Meta, RerankRequest, Tokens, usual_units


class UnusableAnswerError(Exception):
    """The answer does not have the shape that it should have."""


def dig(body: Any, *path: str) -> Any:
    """The value at `path` in nested objects of JSON, or `None`."""
    for key in path:
        if not isinstance(body, dict):
            return None
        body = body.get(key)
    return body


def first_at(body: Any, paths: Sequence[str]) -> Any:
    """The value at the first of `paths` (keys joined with dots) where there is one."""
    for path in paths:
        if (value := dig(body, *_keys(path))) is not None:
            return value
    return None


@cache
def _keys(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def ranked(
    body: Any, request: RerankRequest, *, rows: str, score: str, index: str = "index"
) -> list[tuple[int, float]]:
    """The (index, score) pairs in a list of results, checked one by one.

    Args:
        rows: Where the list is in `body`: keys joined with dots, or `""` for an answer that is the list.
        score: Key of the score in a result.
        index: Key of the index in a result.

    Raises:
        An error that `Provider.read` turns into `APIResponseValidationError`: for an index that is out of range,
        negative, repeated or not an integer, and for a score that is missing, not a number, NaN or infinite.
    """
    items = dig(body, *_keys(rows)) if rows else body
    if not isinstance(items, list):
        raise UnusableAnswerError(f"the answer has no list '{rows}'" if rows else "the answer is not a list")
    count = len(request.documents)
    if not items:
        return []
    try:
        scores = {item[index]: item[score] for item in items}
        kinds = set(map(type, scores.values()))
        sound = (
            len(scores) == len(items)
            and set(map(type, scores)) == _INTEGER
            and kinds <= _NUMBERS
            and min(scores) >= 0
            and max(scores) < count
            and (math.isfinite(sum(scores.values())) or all(map(math.isfinite, scores.values())))
        )
    except (KeyError, TypeError, IndexError, OverflowError):
        scores, kinds, sound = {}, set(), False
    if not sound:
        raise UnusableAnswerError(_fault(items, count, rows or "answer", index, score))
    return list(scores.items()) if kinds == _FLOAT else [(index, float(value)) for index, value in scores.items()]


_INTEGER, _FLOAT, _NUMBERS = frozenset({int}), frozenset({float}), frozenset({int, float})


def _fault(items: Sequence[Any], count: int, rows: str, index: str, score: str) -> str:
    """What is wrong with a list of results: the first result that is not what it should be."""
    seen: set[int] = set()
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            return f"{rows}[{place}] is not an object"
        position = item.get(index)
        if type(position) is not int or not 0 <= position < count:
            return f"{rows}[{place}].{index} is not an integer from 0 to {count - 1}"
        if position in seen:
            return f"{rows}[{place}].{index} repeats {position}"
        seen.add(position)
        try:
            finite(item.get(score), f"{rows}[{place}].{score}")
        except UnusableAnswerError as problem:
            return str(problem)
    return f"'{rows}' cannot be read"


def finite(value: Any, name: str) -> float:
    """`value` as a float, if it is a finite number and not a bool."""
    if type(value) is not float and type(value) is not int:
        raise UnusableAnswerError(f"{name} is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UnusableAnswerError(f"{name} is not finite")
    return number


def whole_number(text: str) -> int | str:
    """The count that a text spells, or the text itself; the longest that is read has nine digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


def number(value: Any) -> int | float | None:
    """A count that the provider gave, or `None`: never a made-up 0."""
    usable = type(value) in (int, float) and 0 <= value < math.inf
    return value if usable else None


def estimated_units(request: RerankRequest) -> Meta:
    """Usage where the provider reports none."""
    return usage(search_units=usual_units(len(request.documents)), estimated=True)


def dollars(value: Any) -> float | None:
    """A cost that the provider gave; a 0 stands for one that it does not know."""
    cost = number(value)
    return float(cost) if cost else None


def usage(
    *,
    search_units: Any = None,
    total_tokens: Any = None,
    input_tokens: Any = None,
    output_tokens: Any = None,
    api_version: Any = None,
    warnings: Any = None,
    estimated: bool = False,
) -> Meta:
    """`Meta` of what is there and is what it should be; anything else is left out.

    Args:
        estimated: Whether the numbers are ours rather than the provider's.
    """
    units, billed, read, written = map(number, (search_units, total_tokens, input_tokens, output_tokens))
    return Meta(
        billed_units=None if units is None and billed is None else BilledUnits(search_units=units, total_tokens=billed),
        tokens=None if read is None and written is None else Tokens(input_tokens=read, output_tokens=written),
        api_version=api_version if isinstance(api_version, Mapping) else None,
        warnings=tuple(w for w in warnings if isinstance(w, str)) if isinstance(warnings, list) else (),
        estimated=estimated,
    )
