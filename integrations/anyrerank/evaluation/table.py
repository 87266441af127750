"""A report as a table: aligned text in a terminal, HTML in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from anyrerank.evaluation.dataset import LEXICAL_SEARCH
from anyrerank.evaluation.references import FIRST_STAGE
from anyrerank.evaluation.rows import dollars
from anyrerank.evaluation.significance import differences

if TYPE_CHECKING:
    from anyrerank.evaluation.rows import Row
    from anyrerank.evaluation.scored import Scored
    from anyrerank.evaluation.significance import Difference

_FEW_QUERIES = 20
_TEXT_COLUMNS = (0, 2)
_MARK = "*"
"""Marks the numbers of a row in which some calls failed."""


def as_text(report: Scored) -> str:
    """An aligned table, followed by notes."""
    rows = [_headings(report), *(_cells(report, row) for row in report.rows.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", *_notes(report)])


def as_html(report: Scored) -> str:
    """A table with bars, followed by notes. All texts are escaped."""
    head = "".join(f"<th>{html.escape(each)}</th>" for each in _headings(report))
    body = "".join(_html_row(report, row) for row in report.rows.values())
    notes = "".join(f"<div>{html.escape(note)}</div>" for note in _notes(report))
    return f'<div><table class="report"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}</div>'


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if column in _TEXT_COLUMNS else cell.rjust(width)


def _headings(report: Scored) -> list[str]:
    main, *others = report.measures
    shown = ["hit@1" if each == "Success@1" else each for each in others]
    last = ["p50", "p95", "cost per 1,000", "failed", f"judged@{report.k}"]
    return ["", main, f"vs. {report.baseline}", *shown, *last]


def _cells(report: Scored, row: Row) -> list[str]:
    main, *others = report.measures
    failures = sum(row.failures.values())
    if row.failed:
        return [row.name, "failed", *[""] * (len(others) + 4), f"{failures} of {row.calls}", ""]
    mark = _MARK if failures else ""
    return [
        row.name,
        f"{row.means[main]:.3f}{mark}",
        _difference(row) + (mark if row.difference else ""),
        *(f"{row.means[each]:.3f}{mark}" for each in others),
        _milliseconds(row.p50),
        _milliseconds(row.p95),
        _cost(row),
        "" if row.is_reference else f"{failures} of {row.calls}" if failures else "0",
        f"{row.judged:.0%}",
    ]


def _difference(row: Row) -> str:
    gap = row.difference
    if gap is None:
        return ""
    return _shown(gap) if gap.significant else f"{_shown(gap)}, not significant"


def _shown(gap: Difference) -> str:
    p_value = "p<0.001" if gap.p_value < 0.001 else f"p={gap.p_value:.3f}"
    return f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] {p_value}"


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1000 * seconds:.1f} ms" if seconds < 0.01 else f"{1000 * seconds:.0f} ms"


def _cost(row: Row) -> str:
    if row.is_reference:
        return ""
    return "unknown" if row.usd_per_1000 is None else dollars(row.usd_per_1000)


def _notes(report: Scored) -> Iterator[str]:
    yield from _verdict(report)
    evaluated, total = len(report.evaluated_queries), len(report.data.queries)
    yield (
        f"{evaluated} of {total} queries have a relevant document in the labels; means are over these. "
        "nDCG uses linear gain."
    )
    if compared := sum(row.difference is not None for row in report.rows.values()):
        corrected = f", both corrected for {compared} comparisons" if compared > 1 else ""
        yield (
            f"Differences in {report.measures[0]} to {report.baseline}: mean, 95% interval (paired bootstrap) and "
            f"p-value (randomisation test){corrected}. A difference is significant if p is below 0.05."
        )
        if evaluated < _FEW_QUERIES:
            yield f"Bootstrap intervals are too narrow with fewer than {_FEW_QUERIES} queries: label more."
    if any(row.p50 is not None for row in report.rows.values()):
        yield f"Latencies were measured with {_concurrency(report)}; models on this machine were called one at a time."
    if report.data.first_stage is not None:
        is_lexical = report.data.first_stage == LEXICAL_SEARCH
        advice = ", not your retriever: pass first_stage= to use that" if is_lexical else ""
        yield f"{FIRST_STAGE} is {report.data.first_stage}{advice}."
    yield from (_failures(row) for row in report.rows.values() if row.failures)


def _verdict(report: Scored) -> Iterator[str]:
    """Which of two rerankers is better, as a single comparison."""
    rows = [row for row in report.rows.values() if not (row.is_reference or row.failed)]
    if len(rows) != 2:
        return
    best, other = (row.name for row in rows)
    measure = report.measures[0]
    new, old = (list(report.scores[name][measure].values()) for name in (best, other))
    gap = differences({best: new}, old)[best]
    if gap.significant:
        yield f"{best} is better than {other} in {measure}: {_shown(gap)}."
    else:
        yield f"{best} and {other} cannot be told apart by these queries in {measure}: {_shown(gap)}."


def _failures(row: Row) -> str:
    kinds = ", ".join(f"{count} x {name}" for name, count in sorted(row.failures.items()))
    if row.failed:
        return f"{row.name}: failed, {kinds}; the first error: {row.message}"
    count = f"{sum(row.failures.values())} of {row.calls} calls failed"
    return (
        f"{_MARK} {row.name}: {count}, {kinds}; these queries count with the order of the first stage. "
        f"The first error: {row.message}"
    )


def _concurrency(report: Scored) -> str:
    calls = report.max_concurrency
    return "one call at a time" if calls == 1 else f"up to {calls} concurrent calls"


def _html_row(report: Scored, row: Row) -> str:
    style = ' style="opacity:.65;font-style:italic"' if row.is_reference else ""
    cells = [html.escape(cell) for cell in _cells(report, row)]
    if not row.failed:
        cells[1] = f"{_bar(row, row.means[report.measures[0]])}{cells[1]}"
    shown = "".join(map(_html_cell, range(len(cells)), _headings(report), cells))
    return f"<tr{style}>{shown}</tr>"


def _html_cell(column: int, heading: str, cell: str) -> str:
    align = "left" if column in _TEXT_COLUMNS else "right"
    label = html.escape(heading)
    return f'<td data-label="{label}" style="text-align:{align};white-space:nowrap">{cell}</td>'


def _bar(row: Row, mean: float) -> str:
    """A bar for the mean, with its interval darkened."""
    return (
        '<div style="width:90px;height:.55em;background:rgba(128,128,128,.18);border-radius:3px;position:relative" '
        f'title="95% interval: {row.low:.3f} to {row.high:.3f}">'
        f'<div style="width:{mean * 100:.0f}%;height:100%;background:#4c78a8;border-radius:3px"></div>'
        f'<div style="position:absolute;top:0;left:{row.low * 100:.0f}%;width:{(row.high - row.low) * 100:.0f}%;'
        'height:100%;background:rgba(0,0,0,.25)"></div></div>'
    )
