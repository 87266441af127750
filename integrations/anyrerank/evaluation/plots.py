"""Pictures of a report, by matplotlib (`pip install 'anyrerank[evaluation]'`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anyrerank._core.runtime import needed
from anyrerank.evaluation.reference import FIRST_STAGE, ORACLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from anyrerank.evaluation.report import Report, Row

_LEAST_MS = 0.01
_GOOD, _PLAIN, _ACCENT = "#2e7d32", "#9e9e9e", "#4c78a8"


def quality_against_latency(report: Report, ax: Axes | None) -> Axes:
    """A dot for each reranker, lines for the references."""
    axes = ax or _axes(7.5, 4.5)
    main = report.measures[0]
    rows = [row for row in report.rows.values() if not row.is_reference and row.p50 is not None]
    dearest = max((row.dollars or 0.0 for row in rows), default=0.0)
    for place, row in enumerate(sorted(rows, key=lambda row: row.p50 or 0.0)):
        at = _milliseconds(row)
        mean = row.means[main]
        axes.errorbar(
            at,
            mean,
            yerr=[[max(0.0, mean - row.low)], [max(0.0, row.high - mean)]],
            color=_ACCENT,
            alpha=0.6,
            capsize=3,
            zorder=2,
        )
        face = "white" if row.dollars is None else _ACCENT
        axes.scatter(at, mean, s=_size(row, dearest), color=face, edgecolors=_ACCENT, zorder=3)
        axes.annotate(
            _label(row),
            (at, mean),
            xytext=(9, (6, -28)[place % 2]),
            textcoords="offset points",
            fontsize=9,
            parse_math=False,
        )
    for row in report.rows.values():
        if row.is_reference:
            axes.axhline(row.means[main], color=_PLAIN, linestyle="--" if row.name == FIRST_STAGE else ":", zorder=1)
            axes.annotate(
                row.name,
                (1.0, row.means[main]),
                xycoords=("axes fraction", "data"),
                xytext=(-4, 2),
                textcoords="offset points",
                ha="right",
                fontsize=8,
                color="#616161",
                parse_math=False,
            )
    axes.set_xscale("log")
    plain = needed("matplotlib.ticker", "evaluation").FuncFormatter(lambda number, _: f"{number:g}")
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(plain)
    if rows:
        spread = [_milliseconds(row) for row in rows]
        axes.set_xlim(min(spread) / 3, max(spread) * 5)  # or the eye would make much of a millisecond
    axes.set_xlabel("median latency of a call, ms")
    axes.set_ylabel(f"{main}, with its 95 % interval")
    axes.set_title(
        f"{report.data.name}: {len(report.answered)} queries; a larger dot costs more, an empty one is unknown"
    )
    return axes


def ranks(report: Report, query: str, names: Sequence[str], ax: Axes | None) -> Axes:
    """A line for each candidate, through its rank in each ranking; those with a label are green."""
    columns = [FIRST_STAGE, *(name for name in names if name not in (FIRST_STAGE, ORACLE))]
    rankings = [list(report.outcomes[name][query].ranking) for name in columns]
    grades = report.data.labels.get(query, {})
    axes = ax or _axes(1.6 + 1.9 * len(columns), 1.5 + 0.16 * len(rankings[0]))
    for document in rankings[0]:
        at = [ranking.index(document) + 1 if document in ranking else math.nan for ranking in rankings]
        grade = grades.get(document, 0)
        axes.plot(
            range(len(columns)),
            at,
            marker="o",
            markersize=3 + 1.5 * grade,
            color=_GOOD if grade else _PLAIN,
            alpha=1.0 if grade else 0.35,
            linewidth=1.0 + grade,
            zorder=2 + grade,
        )
        if grade:
            axes.annotate(
                f"{document} ({grade})",
                (len(columns) - 1, at[-1]),
                xytext=(7, -3),
                textcoords="offset points",
                fontsize=8,
                color=_GOOD,
                parse_math=False,
            )
    axes.set_ylim(len(rankings[0]) + 1, 0)
    axes.set_xticks(range(len(columns)), columns, parse_math=False)
    axes.set_ylabel("rank")
    axes.margins(x=0.18)
    text = report.data.queries[query]
    axes.set_title(text if len(text) <= 70 else f"{text[:69]}…", fontsize=10, parse_math=False)
    return axes


def _size(row: Row, dearest: float) -> float:
    """Area in square points: the price is what the eye compares."""
    return 40.0 + (260.0 * (row.dollars or 0.0) / dearest if dearest else 0.0)


def _label(row: Row) -> str:
    price = "price unknown" if row.dollars is None else "free" if row.dollars == 0 else f"${row.dollars:.2f} / 1,000"
    return f"{row.name}\n{price}"


def _axes(width: float, height: float) -> Any:
    pyplot = needed("matplotlib.pyplot", "evaluation")
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def _milliseconds(row: Row) -> float:
    """The median of a ranking's latency, on an axis that has no 0."""
    return max(_LEAST_MS, 1000 * (row.p50 or 0.0))
