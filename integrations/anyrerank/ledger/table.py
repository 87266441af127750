"""Spending as the rows of a table, as Markdown, JSON and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from io import StringIO
from typing import Any

from anyrerank.ledger.spending import By, Spend

_NUMBERS = ("calls", "requests", "failures", "documents", "search units", "tokens", "cost", "saved")
_NONE = "(none)"
_INCOMPLETE = "+"


def head(by: Sequence[By]) -> tuple[str, ...]:
    """The names of the columns."""
    return (*by, *_NUMBERS)


def lines(by: Sequence[By], spends: Sequence[Spend], total: Spend) -> Iterator[tuple[str, ...]]:
    """A row for each group, and a last one for the total."""
    for spend in spends:
        yield (*(_NONE if value is None else value for value in spend.group.values()), *_cells(spend))
    yield ("total", *("" for _ in by[1:]), *_cells(total))


def remarks(by: Sequence[By], total: Spend) -> Iterator[str]:
    """Notes that explain the table."""
    if total.unknown:
        yield (
            f"{_INCOMPLETE} the cost of {total.unknown:,} of the calls is unknown and not included: pass "
            "input_cost_per_query, input_cost_per_token or prices to the Reranker; for a gateway, set "
            "input_cost_per_query or input_cost_per_token in litellm_params"
        )
    if "tag" in by:
        yield "a call with several tags counts for each of them, and once in the total"


def markdown(by: Sequence[By], spends: Sequence[Spend], total: Spend) -> str:
    """The table and its notes in Markdown."""
    alignment = (*("---" for _ in by), *("---:" for _ in _NUMBERS))
    rows = [head(by), alignment, *lines(by, spends, total)]
    table = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([*table, *(f"\n{remark}" for remark in remarks(by, total))]) + "\n"


def as_json(spends: Sequence[Spend], total: Spend) -> dict[str, Any]:
    """All numbers; `None` where one is unknown."""
    return {"spend": [asdict(spend) for spend in spends], "total": asdict(total)}


def as_csv(by: Sequence[By], spends: Sequence[Spend]) -> str:
    """A line for each group with all numbers, after one with their names; nothing where a number is unknown."""
    numbers = [each.name for each in fields(Spend) if each.name != "group"]
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*by, *numbers])
    lines.writerows([*spend.group.values(), *(getattr(spend, name) for name in numbers)] for spend in spends)
    return text.getvalue()


def _cells(spend: Spend) -> tuple[str, ...]:
    counts = (spend.calls, spend.requests, spend.failures, spend.documents, spend.search_units, spend.tokens)
    mark = _INCOMPLETE if spend.unknown else ""
    return (*map(_number, counts), _dollars(spend.cost) + mark, _dollars(spend.saved))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _dollars(value: float | None) -> str:
    return "unknown" if value is None else f"${value:,.6f}"
