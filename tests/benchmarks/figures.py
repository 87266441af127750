"""What a benchmark finds, the bound it is held to, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["ms", "s", "req/s", "MB", "modules", "calls"]
_DIGITS: dict[Unit, int] = {"ms": 2, "s": 3, "req/s": 0, "MB": 1, "modules": 0, "calls": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A limit, and the number that is held to it."""

    value: float
    limit: float
    what: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.what} {'>=' if self.at_least else '<='} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table; `peer` is `None` where there is nothing to compare with."""

    name: str
    compared: str
    ours: float
    peer: float | None
    unit: Unit
    bound: Bound

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None


def within_ratio(name: str, compared: str, ours: float, peer: float, unit: Unit, *, limit: float) -> Figure:
    """`ours` costs at most `limit` times `peer`."""
    bound = Bound(value=ours / peer, limit=limit, what="ratio")
    return Figure(name=name, compared=compared, ours=ours, peer=peer, unit=unit, bound=bound)


def reaches_ratio(name: str, compared: str, ours: float, peer: float, unit: Unit, *, limit: float) -> Figure:
    """`ours` does at least `limit` times what `peer` does."""
    bound = Bound(value=ours / peer, limit=limit, what="ratio", at_least=True)
    return Figure(name=name, compared=compared, ours=ours, peer=peer, unit=unit, bound=bound)


def adds(name: str, compared: str, ours: float, peer: float, unit: Unit, *, limit: float) -> Figure:
    """`ours` adds at most `limit` to `peer`."""
    bound = Bound(value=ours - peer, limit=limit, what=f"{unit} added")
    return Figure(name=name, compared=compared, ours=ours, peer=peer, unit=unit, bound=bound)


def stays_under(name: str, compared: str, ours: float, peer: float | None, unit: Unit, *, limit: float) -> Figure:
    """`ours` is at most `limit`, whatever the peer does."""
    bound = Bound(value=ours, limit=limit, what=unit)
    return Figure(name=name, compared=compared, ours=ours, peer=peer, unit=unit, bound=bound)


def table(figures: Sequence[Figure]) -> str:
    """The figures under a heading, in aligned columns."""
    rows = [("name", "compared", "ours", "peer", "ratio", "bound", "value", "met"), *map(_row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _row(figure: Figure) -> tuple[str, ...]:
    ratio, bound = figure.ratio, figure.bound
    return (
        figure.name,
        figure.compared,
        f"{_shown(figure.ours, figure.unit)} {figure.unit}",
        "" if figure.peer is None else f"{_shown(figure.peer, figure.unit)} {figure.unit}",
        "" if ratio is None else f"{ratio:.2f}",
        str(bound),
        f"{bound.value:.2f}",
        "yes" if bound.met else "NO",
    )


def _shown(number: float, unit: Unit) -> str:
    return f"{number:,.{_DIGITS[unit]}f}"


_NUMBERS = range(2, 5)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if place in _NUMBERS else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
