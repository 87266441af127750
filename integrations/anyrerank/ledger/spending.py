"""SQL queries for spending, and their results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any, Literal, TypeAlias, cast

import sqlalchemy as sa

from anyrerank._core.pricing import summed
from anyrerank._core.types import public
from anyrerank.errors import BadRequestError
from anyrerank.ledger.rows import plain
from anyrerank.ledger.schema import calls, tags

By: TypeAlias = Literal["user", "model", "deployment", "tag", "day", "provider"]
"""The groupings of spending. Days are in UTC; a call with several tags counts for each of them."""

_COLUMNS: Mapping[By, sa.Column[Any]] = {
    "user": calls.c.end_user,
    "model": calls.c.model,
    "deployment": calls.c.deployment,
    "tag": tags.c.tag,
    "day": calls.c.day,
    "provider": calls.c.provider,
}
_SUMS = ("requests", "failures", "documents", "search_units", "tokens", "cost", "saved")
_SECONDS_PER_DAY = 86_400


@public("anyrerank.ledger")
@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The spending of a group of calls.

    Attributes:
        group: The value of each grouping; `None` for calls without a user or a tag.
        calls: Number of calls.
        requests: Number of attempts.
        failures: Number of attempts that failed.
        documents: Documents of the calls; those of a call that fell back count for each deployment that was asked.
        search_units: Reported by the providers, or `None` when none reported any.
        tokens: Reported by the providers, or `None` when none reported any.
        cost: US dollars, as far as they are known, or `None` when no cost is known.
        unknown: Number of calls whose cost is not fully known.
        saved: US dollars that answers from the cache saved, or `None` when that is unknown.
    """

    group: Mapping[By, str | None]
    calls: int
    requests: int
    failures: int
    documents: int
    search_units: float | None
    tokens: float | None
    cost: float | None
    unknown: int
    saved: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The calls that count; `None` means all.

    Attributes:
        since: First day in UTC, or first moment.
        until: Last day in UTC, or the moment after the last one.
        user: End user.
        tag: One of the tags.
        model: The requested model, or group of a router.

    Raises:
        BadRequestError: A value has another type, or a `datetime` has no time zone.
    """

    since: date | None = None
    until: date | None = None
    user: str | None = None
    tag: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        for name, moment in (("since", self.since), ("until", self.until)):
            _check_moment(name, moment)
        for name, value in (("user", self.user), ("tag", self.tag), ("model", self.model)):
            _check_text(name, value)

    def clauses(self) -> Iterator[sa.ColumnElement[bool]]:
        """The conditions on the table of calls."""
        if self.since is not None:
            yield calls.c.time >= _seconds(self.since, 0)
        if self.until is not None:
            yield calls.c.time < _seconds(self.until, 1)
        if self.user is not None:
            yield calls.c.end_user == plain(self.user)
        if self.model is not None:
            yield calls.c.model == plain(self.model)
        if self.tag is not None:
            yield calls.c.call.in_(sa.select(tags.c.call).where(tags.c.tag == plain(self.tag)))


def checked(by: object) -> tuple[By, ...]:
    """The names of groupings, each once.

    Raises:
        BadRequestError: One of them does not exist.
    """
    names = (by,) if isinstance(by, str) or not isinstance(by, Iterable) else tuple(by)
    if unknown := [name for name in names if not isinstance(name, str) or name not in _COLUMNS]:
        raise BadRequestError(f"by must be one or several of {', '.join(_COLUMNS)}, got {unknown[0]!r}")
    return cast("tuple[By, ...]", tuple(dict.fromkeys(names)))


def grouped(by: Sequence[By], which: Filter) -> sa.Select[Any]:
    """A query for rows that `spends` reads."""
    columns = [_COLUMNS[name] for name in by]
    source = calls.outerjoin(tags, tags.c.call == calls.c.call) if "tag" in by else calls
    unknown = sa.case((calls.c.cost.is_(None), calls.c.call))
    counts = [sa.func.count(sa.distinct(each)) for each in (calls.c.call, unknown)]
    sums = [sa.func.sum(calls.c[name]) for name in _SUMS]
    return sa.select(*columns, *counts, *sums).select_from(source).where(*which.clauses()).group_by(*columns)


def spends(by: Sequence[By], rows: Iterable[Sequence[Any]]) -> list[Spend]:
    """The result of the query `grouped`, highest cost first."""
    return sorted((_spend(by, row) for row in rows), key=_highest_cost_first)


def total_cost(which: Filter) -> sa.Select[Any]:
    """A query for the sum of the known costs."""
    return sa.select(sa.func.sum(calls.c.cost)).where(*which.clauses())


def _check_moment(name: str, moment: object) -> None:
    if moment is None or (isinstance(moment, date) and getattr(moment, "tzinfo", timezone.utc) is not None):
        return
    raise BadRequestError(f"{name} must be a date, or a datetime with a time zone, got {moment!r}")


def _check_text(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise BadRequestError(f"{name} must be a string, got {type(value).__name__}")


def _seconds(moment: date, days: int) -> float:
    """Seconds since 1970 of a moment, or of the start of a day in UTC, `days` later."""
    if isinstance(moment, datetime):
        return moment.timestamp()
    start = datetime(moment.year, moment.month, moment.day, tzinfo=timezone.utc)
    return start.timestamp() + days * _SECONDS_PER_DAY


def _spend(by: Sequence[By], row: Sequence[Any]) -> Spend:
    values = tuple(row)
    count, unknown, requests, failures, documents, units, tokens, cost, saved = values[len(by) :]
    return Spend(
        group=dict(zip(by, values, strict=False)),
        calls=count,
        requests=int(requests or 0),
        failures=int(failures or 0),
        documents=int(documents or 0),
        search_units=_float(units),
        tokens=_float(tokens),
        cost=_dollars(cost) if count else 0.0,
        unknown=unknown,
        saved=_dollars(saved),
    )


def _dollars(number: Any) -> float | None:
    return None if number is None else summed(float(number))


def _float(number: Any) -> float | None:
    return None if number is None else float(number)


def _highest_cost_first(spend: Spend) -> tuple[Any, ...]:
    cost = -math.inf if spend.cost is None else spend.cost
    return (-cost, -spend.calls, [value or "" for value in spend.group.values()])
