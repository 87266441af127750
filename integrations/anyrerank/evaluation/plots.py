"""Plots of a report, drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anyrerank._core.runtime import import_optional
from anyrerank._core.types import shortened
from anyrerank.evaluation.references import FIRST_STAGE, ORACLE, RANDOM
from anyrerank.evaluation.rows import dollars

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from anyrerank.evaluation.rows import Row
    from anyrerank.evaluation.scored import Scored

_MIN_MS = 0.01
_MAX_TITLE = 70
_MAX_NAME = 28
_FEW_DECADES = 2.5
_GREEN, _RED, _GREY, _DARK_GREY = "#2e7d32", "#c62828", "#9e9e9e", "#616161"
_COLORS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#eeca3b")
_LEGEND_AREA = 40.0
_MARKERS = ("o", "s", "D", "^")
_LINES = {FIRST_STAGE: "--", RANDOM: ":", ORACLE: "-."}
_GOLDEN = 0.618
"""Spreads the dots of a row over its height, the same way every time."""


def plot_quality_against_latency(report: Scored, ax: Axes | None) -> Axes:
    """A dot for each reranker, and a line for each reference."""
    axes = ax or _new_axes(9.0, 4.5)
    main = report.measures[0]
    rows = [row for row in report.rows.values() if not row.is_reference and row.p50 is not None]
    highest_cost = max((row.usd_per_1000 or 0.0 for row in rows), default=0.0)
    for index, row in enumerate(rows):
        style = (_COLORS[index % len(_COLORS)], _MARKERS[index // len(_COLORS) % len(_MARKERS)])
        _draw_dot(axes, row, row.means[main], _area(row, highest_cost), style)
    for row in report.rows.values():
        if row.is_reference:
            axes.axhline(row.means[main], color=_GREY, linestyle=_LINES[row.name], zorder=1, label=row.name)
    _scale_latencies(axes, [_milliseconds(row) for row in rows])
    axes.margins(y=0.2)
    axes.set_xlabel("median latency of a call (ms)")
    axes.set_ylabel(f"{main} with 95% interval")
    axes.set_title(
        f"{report.data.name}: {len(report.evaluated_queries)} queries\nlarger dot: higher cost; hollow: price unknown"
    )
    _legend(axes)
    return axes


def plot_differences(report: Scored, ax: Axes | None) -> Axes:
    """The paired differences of each reranker to the baseline: a dot for each query, the mean and its interval."""
    rows = [row for row in report.rows.values() if row.difference is not None]
    axes = ax or _new_axes(7.5, 1.2 + 0.7 * len(rows))
    main = report.measures[0]
    old = report.scores[report.baseline][main] if rows else {}
    for index, row in enumerate(rows):
        gaps = [value - old[query] for query, value in report.scores[row.name][main].items()]
        heights = [index + 0.3 * ((number * _GOLDEN) % 1 - 0.5) for number in range(len(gaps))]
        axes.scatter(gaps, heights, s=14, color=[_color(gap) for gap in gaps], alpha=0.4, linewidths=0, zorder=2)
        _draw_mean(axes, index, row)
    axes.axvline(0, color=_DARK_GREY, linewidth=1, zorder=1)
    axes.set_yticks(range(len(rows)), [shortened(row.name, _MAX_NAME) for row in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"difference in {main} to {report.baseline}; dots: queries, bar: mean with 95% interval")
    return axes


def plot_ranks(report: Scored, query: str, names: Sequence[str], ax: Axes | None) -> Axes:
    """A line for each candidate through its rank in each ranking. Relevant candidates are green."""
    columns = [FIRST_STAGE, *(name for name in names if name not in (FIRST_STAGE, ORACLE))]
    rankings = [list(report.outcomes[name][query].ranking) for name in columns]
    grades = report.data.labels.get(query, {})
    axes = ax or _new_axes(1.6 + 1.9 * len(columns), 1.5 + 0.16 * len(rankings[0]))
    for document in rankings[0]:
        ranks = [ranking.index(document) + 1 if document in ranking else math.nan for ranking in rankings]
        _draw_ranks(axes, document, ranks, grades.get(document, 0))
    axes.set_ylim(len(rankings[0]) + 1, 0)
    axes.set_xticks(range(len(columns)), columns, parse_math=False)
    axes.set_ylabel("rank")
    axes.margins(x=0.18)
    text = report.data.queries[query]
    axes.set_title(shortened(text, _MAX_TITLE), fontsize=10, parse_math=False)
    return axes


def _draw_dot(axes: Axes, row: Row, mean: float, area: float, style: tuple[str, str]) -> None:
    """The dot of a reranker, with its interval."""
    at, (color, marker) = _milliseconds(row), style
    interval = [[max(0.0, mean - row.low)], [max(0.0, row.high - mean)]]
    axes.errorbar(at, mean, yerr=interval, color=color, alpha=0.6, capsize=3, zorder=2)
    face = "white" if row.usd_per_1000 is None else color
    name = f"{shortened(row.name, _MAX_NAME)}, {_cost(row)}"
    axes.scatter(at, mean, s=area, color=face, edgecolors=color, marker=marker, zorder=3, label=name)


def _legend(axes: Axes) -> None:
    """A legend beside the plot, so that no name covers another, with dots of one size."""
    collections = import_optional("matplotlib.collections", "evaluation")
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9, frameon=False)
    for handle in legend.legend_handles:
        if isinstance(handle, collections.PathCollection):
            handle.set_sizes([_LEGEND_AREA])
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_mean(axes: Axes, index: int, row: Row) -> None:
    """The mean difference of a reranker, with its interval."""
    gap = row.difference
    if gap is not None:
        around = [[max(0.0, gap.mean - gap.low)], [max(0.0, gap.high - gap.mean)]]
        axes.errorbar(gap.mean, index, xerr=around, fmt="o", markersize=5, color="black", capsize=3, zorder=3)


def _color(gap: float) -> str:
    return _GREEN if gap > 0 else _RED if gap < 0 else _GREY


def _draw_ranks(axes: Axes, document: str, ranks: Sequence[float], grade: int) -> None:
    """The line of a candidate; a relevant one is labelled with its id and grade."""
    axes.plot(
        range(len(ranks)),
        ranks,
        marker="o",
        markersize=3 + 1.5 * grade,
        color=_GREEN if grade else _GREY,
        alpha=1.0 if grade else 0.35,
        linewidth=1.0 + grade,
        zorder=2 + grade,
    )
    if grade:
        axes.annotate(
            f"{document} ({grade})",
            (len(ranks) - 1, ranks[-1]),
            xytext=(7, -3),
            textcoords="offset points",
            fontsize=8,
            color=_GREEN,
            parse_math=False,
        )


def _scale_latencies(axes: Axes, latencies: Sequence[float]) -> None:
    """A logarithmic axis with few plain numbers, wide enough that small differences look small."""
    ticker = import_optional("matplotlib.ticker", "evaluation")
    axes.set_xscale("log")
    low, high = (min(latencies) / 3, max(latencies) * 5) if latencies else (1, 1000)
    axes.set_xlim(low, high)
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades <= _FEW_DECADES else (1, 3) if decades <= 2 * _FEW_DECADES else (1,)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda number, _: f"{number:g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())


def _area(row: Row, highest_cost: float) -> float:
    """Area of a dot in square points, growing with the cost."""
    return 40.0 + (260.0 * (row.usd_per_1000 or 0.0) / highest_cost if highest_cost else 0.0)


def _cost(row: Row) -> str:
    if row.usd_per_1000 is None:
        return "price unknown"
    return f"{dollars(row.usd_per_1000)} per 1,000" if row.usd_per_1000 else "free"


def _new_axes(width: float, height: float) -> Any:
    pyplot = import_optional("matplotlib.pyplot", "evaluation")
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def _milliseconds(row: Row) -> float:
    """The median latency, above 0 for a logarithmic axis."""
    return max(_MIN_MS, 1000 * (row.p50 or 0.0))
