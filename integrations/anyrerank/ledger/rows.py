"""The record of a call: a line in the spool, later a row of the database for each deployment that was asked.

The line is written while the call waits, so its values are not processed. The rows are made later, in another thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypeAlias

from orjson import JSONDecodeError, JSONEncodeError, dumps, loads

from anyrerank._core.pricing import MAYBE_BILLED
from anyrerank.hooks import CallEvent

Row: TypeAlias = dict[str, Any]

_NUL = rb"\u0000"


class Entry(NamedTuple):
    """The rows of one call.

    Attributes:
        calls: Rows of the table `anyrerank_calls`, one for each deployment that was asked.
        tags: Rows of the table `anyrerank_tags`.
    """

    calls: list[Row]
    tags: list[Row]


class _Facts(NamedTuple):
    """A line of the spool."""

    started: float
    user: str | None
    model_group: str | None
    provider: str
    model: str
    documents: int
    tags: list[str] | None
    attempts: list[list[Any]]
    error: str | None
    answer: list[Any] | None


class _Attempt(NamedTuple):
    id: str
    deployment: str
    error: str | None
    seconds: float
    cost: float | None
    estimated: bool
    billed: bool


class _Answer(NamedTuple):
    deployment: str
    model_id: str | None
    degraded: bool
    cached: int
    saved: float | None
    units: Mapping[str, float | None] | None


def line_of(event: CallEvent) -> bytes | None:
    """The record of a call as a line of JSON, or `None` for a call that sent no request and has no answer.

    The line break comes first, so that a line that was cut short does not damage the next one.
    """
    response = event.response
    if response is None and not event.attempts:
        return None
    answer = None
    if response is not None:
        deployment = f"{response.provider}/{response.model}"
        billed = response.meta.billed_units
        answer = (deployment, response.model_id, response.degraded, response.cached, response.saved, billed)
    facts = (
        event.started,
        event.user,
        event.model_group,
        event.provider,
        event.model,
        len(event.documents),
        _tags(event.metadata.get("tags")) if event.metadata else None,
        [
            (
                each.model_id or each.deployment,
                each.deployment,
                each.error,
                each.seconds,
                each.cost,
                each.estimated,
                each.billed,
            )
            for each in event.attempts
        ],
        None if event.error is None else type(event.error).__name__,
        answer,
    )
    try:
        return b"\n" + dumps(facts)
    except JSONEncodeError:
        return b"\n" + dumps(plain(facts))


def entry_of(key: str, line: bytes) -> Entry | None:
    """The rows of a call, or `None` for a line that was cut short.

    Args:
        key: Identifies the call; the same whenever the line is read.
        line: A line of `line_of`.
    """
    try:
        found = loads(line)
    except JSONDecodeError:
        return None
    facts = _Facts(*(plain(found) if _NUL in line else found))
    tags = [{"call": key, "place": index, "tag": tag} for index, tag in enumerate(facts.tags or ())]
    return Entry(list(_rows(key, facts)), tags)


def plain(value: Any) -> Any:
    """`value` as every database can store it: without NUL or lone surrogates in strings, and integers as floats."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _tags(tags: object) -> list[str] | None:
    if not isinstance(tags, list | tuple | set | frozenset):
        return None
    return list(dict.fromkeys(tag for tag in tags if isinstance(tag, str))) or None


def _rows(key: str, facts: _Facts) -> Iterator[Row]:
    requested = f"{facts.provider}/{facts.model}"
    answer = None if facts.answer is None else _Answer(*facts.answer)
    attempts = [_Attempt(*each) for each in facts.attempts]
    default = requested if answer is None else answer.model_id or answer.deployment
    answering = None if answer is None or answer.degraded else _answering(attempts, default)
    for part, (deployment, own) in enumerate(_by_deployment(attempts, default).items()):
        name = own[0].deployment if own else requested if answer is None else answer.deployment
        yield {
            "call": key,
            "part": part,
            "time": facts.started,
            "day": datetime.fromtimestamp(facts.started, timezone.utc).date().isoformat(),
            "end_user": facts.user,
            "model": facts.model_group or requested,
            "deployment": deployment,
            "provider": name.partition("/")[0],
            "documents": facts.documents,
            **_totals(own),
            **_outcome(own, facts, answer if deployment == answering else None),
        }


def _by_deployment(attempts: Sequence[_Attempt], default: str) -> Mapping[str, Sequence[_Attempt]]:
    """The attempts of each deployment; none of `default` when the answer came from the cache alone."""
    groups: dict[str, list[_Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.id, []).append(attempt)
    return groups or {default: []}


def _answering(attempts: Sequence[_Attempt], default: str) -> str:
    return next((attempt.id for attempt in reversed(attempts) if attempt.error is None), default)


def _totals(attempts: Sequence[_Attempt]) -> Row:
    costs = [attempt.cost for attempt in attempts if attempt.billed]
    return {
        "requests": len(attempts),
        "failures": sum(attempt.error is not None for attempt in attempts),
        "cost": None if None in costs else sum(cost for cost in costs if cost is not None),
        "estimated": any(attempt.estimated or attempt.error in MAYBE_BILLED for attempt in attempts),
        "seconds": sum(attempt.seconds for attempt in attempts),
    }


def _outcome(attempts: Sequence[_Attempt], facts: _Facts, answer: _Answer | None) -> Row:
    """The outcome at a deployment: the usage of the answer if it answered, otherwise its last error."""
    if answer is None:
        error = attempts[-1].error if attempts else None
        nothing = {"search_units": None, "tokens": None, "cached": 0, "saved": None}
        return {"error": error or facts.error, **nothing}
    units = answer.units or {}
    return {
        "error": None,
        "search_units": _float(units.get("search_units")),
        "tokens": _float(units.get("total_tokens")),
        "cached": answer.cached,
        "saved": answer.saved,
    }


def _float(number: float | None) -> float | None:
    """A float, because providers may report integers that no database column holds."""
    return None if number is None else float(number)
