"""Reading an answer: every value is checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from anyrerank._core.types import BilledUnits, Meta, RerankRequest, Spans, Tokens, default_search_units


class UnusableAnswerError(Exception):
    """The answer does not have the documented form: raised in `parse_body`, and `Provider.read` makes an
    `APIResponseValidationError` of it.
    """


class UnusableScoreError(UnusableAnswerError):
    """The answer has the documented form, but a score that is not a finite number."""


def dig(body: Any, *path: str) -> Any:
    """The value at `path` in nested JSON objects, or `None`."""
    for key in path:
        if not isinstance(body, dict):
            return None
        body = body.get(key)
    return body


def first_at(body: Any, paths: Sequence[str]) -> Any:
    """The first value that is not `None` at any of `paths`, whose keys are joined with dots."""
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
    """The (index, score) pairs in a list of results, each one checked.

    Args:
        body: The JSON of the response.
        request: The request that it answers.
        rows: Path of the list in `body`, its keys joined with dots; `""` if `body` is the list.
        score: Key of the score in a result.
        index: Key of the index in a result.

    Raises:
        UnusableAnswerError: An index is out of range, negative, repeated or not an integer, or a score is missing, not
            a number, NaN or infinite.
    """
    items = dig(body, *_keys(rows)) if rows else body
    if not isinstance(items, list):
        raise UnusableAnswerError(f"the answer has no list '{rows}'" if rows else "the answer is not a list")
    count = len(request.documents)
    if not items:
        return []
    score = _score_key(items, score)
    try:
        scores = {item[index]: item[score] for item in items}
        indexes, kinds = sorted(scores), set(map(type, scores.values()))
        valid = (
            len(scores) == len(items)
            and set(map(type, indexes)) == _INTEGER
            and kinds <= _NUMBERS
            and indexes[0] >= 0
            and indexes[-1] < count
            and (math.isfinite(sum(scores.values())) or all(map(math.isfinite, scores.values())))
        )
    except (KeyError, TypeError, IndexError, OverflowError):
        scores, kinds, valid = {}, set(), False
    if not valid:
        raise _fault(items, count, rows or "answer", index, score)
    return list(scores.items()) if kinds == _FLOAT else [(index, float(value)) for index, value in scores.items()]


def in_order(body: Any, request: RerankRequest, *, scores: str) -> list[tuple[int, float]]:
    """The (index, score) pairs of a list with one score for each document, in their order.

    Args:
        body: The JSON of the response.
        request: The request that it answers.
        scores: Path of the list in `body`, its keys joined with dots; `""` if `body` is the list.

    Raises:
        UnusableAnswerError: There is no such list, it has another length, or a score is not a finite number.
    """
    found = dig(body, *_keys(scores)) if scores else body
    if not isinstance(found, list) or len(found) != len(request.documents):
        name = f"list '{scores}'" if scores else "list"
        raise UnusableAnswerError(f"the answer has no {name} with one score for each document")
    name = scores or "answer"
    return [(index, finite_float(score, f"{name}[{index}]")) for index, score in enumerate(found)]


_SYNONYMS = {"relevance_score": "score", "score": "relevance_score"}


def _score_key(items: Sequence[Any], key: str) -> str:
    """`key`, or the other usual name of the score if that is in the results and `key` is in none of them."""
    if isinstance(items[0], dict) and key not in items[0] and _SYNONYMS.get(key) in items[0]:
        return key if any(isinstance(item, dict) and key in item for item in items) else _SYNONYMS[key]
    return key


def spans_in(body: Any, request: RerankRequest, *, rows: str) -> Spans:
    """The relevant spans in a list of results that `ranked` has checked, by the index of the document.

    Raises:
        UnusableAnswerError: A span is malformed.
    """
    if not (request.options.get("relevant_spans") or request.extra_body.get("relevant_spans")):
        return {}
    found = {}
    for row, item in enumerate(dig(body, *_keys(rows)) if rows else body):
        if spans := item.get("relevant_spans"):
            name = f"{rows or 'answer'}[{row}].relevant_spans"
            if not isinstance(spans, list):
                raise UnusableAnswerError(f"{name} is not a list")
            found[item["index"]] = [_span(span, f"{name}[{number}]") for number, span in enumerate(spans)]
    return found


def _span(span: Any, name: str) -> dict[str, Any]:
    start, end = dig(span, "start"), dig(span, "end")
    if type(start) is not int or type(end) is not int or not 0 <= start <= end:
        raise UnusableAnswerError(f"{name} has no integers start and end with 0 <= start <= end")
    return {"start": start, "end": end, "score": finite_float(dig(span, "score"), f"{name}.score")}


_INTEGER, _FLOAT, _NUMBERS = frozenset({int}), frozenset({float}), frozenset({int, float})


def _fault(items: Sequence[Any], count: int, rows: str, index_key: str, score_key: str) -> UnusableAnswerError:
    """The first fault in a list of results."""
    seen: set[int] = set()
    for row, item in enumerate(items):
        name = f"{rows}[{row}]"
        if not isinstance(item, dict):
            return UnusableAnswerError(f"{name} is not an object")
        index = item.get(index_key)
        if type(index) is not int or not 0 <= index < count:
            return UnusableAnswerError(
                f"{name}.{index_key} is not an integer from 0 to {count - 1} but {_got(item, index_key)}"
            )
        if index in seen:
            return UnusableAnswerError(f"{name}.{index_key} repeats {index}")
        seen.add(index)
        if score_key not in item:
            return UnusableScoreError(f"{name}.{score_key} is missing")
        try:
            finite_float(item[score_key], f"{name}.{score_key}")
        except UnusableScoreError as error:
            return error
    return UnusableAnswerError(f"'{rows}' cannot be read")


def _got(item: Mapping[str, Any], key: str) -> str:
    """The value at `key` for an error message; a text is not shown, as it may quote the request."""
    return _shown(item[key]) if key in item else "missing"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)[:40]
    kinds = ((str, "a string"), (dict, "an object"))
    return next((words for kind, words in kinds if isinstance(value, kind)), "a list")


def finite_float(value: Any, name: str) -> float:
    """`value` as a float.

    Raises:
        UnusableAnswerError: It is not a number, or NaN or infinite; a bool is not a number.
    """
    if type(value) is not float and type(value) is not int:
        raise UnusableScoreError(f"{name} is not a number but {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UnusableScoreError(f"{name} is not finite but {number}")
    return number


def int_or_text(text: str) -> int | str:
    """`text` as an integer if it is one of at most nine digits, else unchanged."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


def _count(value: Any) -> int | float | None:
    """A number that the provider reported, or `None`; never an invented 0."""
    is_usable = type(value) in (int, float) and 0 <= value < math.inf
    return value if is_usable else None


def estimated_units(request: RerankRequest) -> Meta:
    """Usage for a provider that reports none."""
    return usage(search_units=default_search_units(len(request.documents)), estimated=True)


def dollars(value: Any) -> float | None:
    """A cost that the provider reported. Providers report 0 for a cost that they do not know: that is `None`."""
    cost = _count(value)
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
    """`Meta` with the values that have the right type; others are left out.

    Args:
        search_units: Billed search units.
        total_tokens: Billed tokens.
        input_tokens: Tokens that the model read.
        output_tokens: Tokens that the model wrote.
        api_version: What the provider reports of its API version.
        warnings: A list of strings.
        estimated: Whether the numbers are an estimate, not reported by the provider.
    """
    units, billed, read, written = map(_count, (search_units, total_tokens, input_tokens, output_tokens))
    return Meta(
        billed_units=None if units is None and billed is None else BilledUnits(search_units=units, total_tokens=billed),
        tokens=None if read is None and written is None else Tokens(input_tokens=read, output_tokens=written),
        api_version=api_version if isinstance(api_version, Mapping) else None,
        warnings=tuple(w for w in warnings if isinstance(w, str)) if isinstance(warnings, list) else (),
        estimated=estimated,
    )
