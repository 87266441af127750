"""How spending is shown: as lines of a table, as Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from anyrerank.ledger.store import By, Spend

_NUMBERS = ("calls", "requests", "failures", "documents", "search units", "tokens", "cost", "saved")
_NONE = "(none)"
_MARK = "+"


def head(by: Sequence[By]) -> tuple[str, ...]:
    """The names of the columns."""
    return (*by, *_NUMBERS)


def lines(by: Sequence[By], spends: Sequence[Spend], total: Spend) -> Iterator[tuple[str, ...]]:
    """A line for each group, and one for all."""
    for spend in spends:
        yield (*(_NONE if value is None else value for value in spend.group.values()), *_cells(spend))
    yield ("total", *("" for _ in by[1:]), *_cells(total))


def remarks(by: Sequence[By], total: Spend) -> Iterator[str]:
    """What the table needs to be understood."""
    if total.unknown:
        yield (
            f"{_MARK} the cost of {total.unknown:,} of the calls is not known, and not in here: Reranker takes prices "
            "as input_cost_per_query, input_cost_per_token or prices"
        )
    if "tag" in by:
        yield "a call with several tags is in the line of each, and once in the total"


def markdown(by: Sequence[By], spends: Sequence[Spend], total: Spend) -> str:
    """A table for a document."""
    numbers = ("---:",) * len(_NUMBERS)
    rows = [head(by), (*("---" for _ in by), *numbers), *lines(by, spends, total)]
    table = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([*table, *(f"\n{remark}" for remark in remarks(by, total))]) + "\n"


def as_json(spends: Sequence[Spend], total: Spend) -> dict[str, Any]:
    """Numbers as they are: `null` for what is not known."""
    return {"spend": [asdict(spend) for spend in spends], "total": asdict(total)}


def _cells(spend: Spend) -> tuple[str, ...]:
    counted = (spend.calls, spend.requests, spend.failures, spend.documents, spend.search_units, spend.tokens)
    return (*map(_number, counted), _dollars(spend.cost) + (_MARK if spend.unknown else ""), _dollars(spend.saved))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _dollars(value: float | None) -> str:
    return "unknown" if value is None else f"${value:,.6f}"
