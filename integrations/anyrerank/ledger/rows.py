"""What is kept of a call: a line of facts in the journal, and a row for each deployment that was asked in the database.

The line is made in the path of the call, so it is one tuple of what is there already. The rows are made of many lines
at a time, later, where the same work takes a third of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import lru_cache
from typing import Any, TypeAlias

from orjson import JSONDecodeError, JSONEncodeError, dumps, loads

from anyrerank._core.pricing import MAYBE_BILLED
from anyrerank.hooks import CallEvent

Row: TypeAlias = list[Any]
"""What one deployment did for one call:

    call            the call's key, which no other call has
    part            number of the row among those of its call, from 0; with `call` the key of the row
    time            when the call began, in seconds since 1970
    day             the same as a day of UTC, `YYYY-MM-DD`
    end_user        what the caller said, or `None`
    model           what was asked: a router's group or `provider/model`
    deployment      where it went: the id of an entry of a router's list or `provider/model`
    provider        prefix of the deployment's provider
    requests        tries
    failures        how many of them failed
    documents       how many the call had
    search_units    what the provider says it used; `None` for a deployment that did not give the answer
    tokens          likewise
    cost            US dollars of the tries that were billed, or `None` when that of one is not known
    estimated       whether the cost rests on an estimate
    seconds         that the tries took together
    error           name of the last error's class, or `None` for the deployment that gave the answer
    cached          scores of the answer that were not paid for
    saved           US dollars that these cost once, or `None`
    tags            of the call, in its first row; `None` when there are none
"""

_Tries: TypeAlias = Sequence[Sequence[Any]]
"""Attempts: name, deployment, error, seconds, cost, whether that is an estimate, whether it was billed."""

_FACTS = 11
_SECONDS_OF_A_DAY = 86_400
_FIRST_DAY = date(1970, 1, 1).toordinal()
_NUL = rb"\u0000"
_DAMAGED = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)
"""What facts raise that were written by nobody."""


def line_of(event: CallEvent, call: str) -> bytes:
    """The facts of a call, after a line break; nothing for one that was refused before anything was sent.

    What follows a line that was cut off is a line of its own.
    """
    response = event.response
    if response is None and not event.attempts:
        return b""
    answer = None
    if response is not None:
        billed = response.meta.billed_units
        used = None if billed is None else billed.__dict__
        answered_by = f"{response.provider}/{response.model}"
        answer = (answered_by, response.model_id, response.degraded, response.cached, response.saved, used)
    facts = (
        call,
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


def rows_in(lines: Sequence[bytes]) -> list[Row]:
    """The rows of some lines; one that was cut off or damaged is left out."""
    rows: list[Row] = []
    for facts in _facts_in(lines):
        try:
            rows += [*_rows_of(facts)]
        except _DAMAGED:
            continue
    return rows


def plain(value: Any) -> Any:
    """`value` as any database can keep it: what is no character replaced, integers that may be too large as floats."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _facts_in(lines: Sequence[bytes]) -> list[list[Any]]:
    joined = b"[" + b",".join(lines) + b"]"
    found: list[list[Any]] = []
    with suppress(JSONDecodeError):
        found = loads(joined)
    if not all(map(_is_whole, found)) or len(found) < len(lines):
        found = [facts for line in lines if (facts := _facts(line)) is not None]
    return found if _NUL not in joined else [plain(facts) for facts in found]  # no database but SQLite keeps that


def _facts(line: bytes) -> list[Any] | None:
    try:
        found = loads(line)
    except JSONDecodeError:
        return None
    return found if _is_whole(found) else None


def _is_whole(found: object) -> bool:
    return isinstance(found, list) and len(found) == _FACTS and isinstance(found[0], str)


def _rows_of(facts: Sequence[Any]) -> Iterator[Row]:
    call, time, user, group, provider, model, documents, tags, attempts, failure, answer = facts
    day, asked = _day(time // _SECONDS_OF_A_DAY), group or f"{provider}/{model}"
    answered_by, model_id = answer[:2] if answer else (f"{provider}/{model}", None)
    known_as = model_id or answered_by
    answering = None if answer is None or answer[2] else _answering(attempts, known_as)
    for part, (deployment, tries) in enumerate(_by_deployment(attempts, known_as).items()):
        name, requests, failures, cost, estimated, seconds, error = _tried(tries, answered_by)
        units, tokens, cached, saved = None, None, 0, None
        if deployment == answering:
            error, cached, saved = None, answer[3], answer[4]
            if answer[5]:
                units, tokens = _real(answer[5]["search_units"]), _real(answer[5]["total_tokens"])
        elif error is None:
            error = failure
        used = (requests, failures, documents, units, tokens, cost, estimated, seconds, error, cached, saved)
        yield [call, part, time, day, user, asked, deployment, name.partition("/")[0], *used, None if part else tags]


def _by_deployment(attempts: _Tries, known_as: str) -> Mapping[str, _Tries]:
    """The tries of each deployment; the answer's one, with none, when it came from the cache alone."""
    if len(attempts) == 1:
        return {attempts[0][0]: attempts}
    groups: dict[str, list[Sequence[Any]]] = {}
    for attempt in attempts:
        groups.setdefault(attempt[0], []).append(attempt)
    return groups or {known_as: []}


def _answering(attempts: _Tries, known_as: str) -> str:
    return next((name for name, _, error, *_ in reversed(attempts) if error is None), known_as)


def _tried(tries: _Tries, answered_by: str) -> tuple[str, int, int, float | None, bool, float, str | None]:
    """`provider/model`, requests, failures, cost, whether that is an estimate, seconds, and the last error."""
    if len(tries) == 1:  # nearly always, and half as long
        _, deployment, error, seconds, cost, estimated, billed = tries[0]
        maybe = estimated or error in MAYBE_BILLED
        return deployment, 1, int(error is not None), cost if billed else 0.0, maybe, seconds, error
    errors = [error for _, _, error, *_ in tries if error is not None]
    costs = [cost for *_, cost, _, billed in tries if billed]
    return (
        tries[0][1] if tries else answered_by,
        len(tries),
        len(errors),
        None if None in costs else sum(costs),
        not MAYBE_BILLED.isdisjoint(errors) or any(estimated for *_, estimated, _ in tries),
        sum(seconds for _, _, _, seconds, *_ in tries),
        tries[-1][2] if tries else None,
    )


def _real(number: float | None) -> float | None:
    """Whatever a provider says: an integer may be larger than any that a database takes."""
    return None if number is None else float(number)


def _tags(tags: object) -> list[str] | None:
    if not isinstance(tags, list | tuple | set | frozenset):
        return None
    return list(dict.fromkeys(tag for tag in tags if isinstance(tag, str))) or None


@lru_cache(maxsize=4)
def _day(number: float) -> str:
    return date.fromordinal(_FIRST_DAY + int(number)).isoformat()
