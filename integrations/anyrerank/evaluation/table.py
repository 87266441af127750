"""A report as a table: aligned text in a terminal, HTML in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyrerank.evaluation.report import Report, Row


def as_text(report: Report) -> str:
    """An aligned table with what has to be known under it."""
    rows = [_heads(report), *(_cells(report, row) for row in report.rows.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place in _TEXTS else cell.rjust(width) for place, cell, width in _placed(row, widths)
        )
        for row in rows
    ]
    return "\n".join([lines[0].rstrip(), *(line.rstrip() for line in lines[1:]), "", *_notes(report)])


def as_html(report: Report) -> str:
    """The same as HTML, with bars; every text is escaped."""
    head = "".join(f"<th>{html.escape(each)}</th>" for each in _heads(report))
    body = "".join(_html_row(report, row) for row in report.rows.values())
    notes = "".join(f"<div>{html.escape(note)}</div>" for note in _notes(report))
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}</div>"


_ENOUGH = 20
_FEW = "So few queries cannot tell much: intervals of a bootstrap are too narrow below some 20."
_TEXTS = (0, 2)
"""Columns of words."""


def _placed(row: Sequence[str], widths: Sequence[int]) -> list[tuple[int, str, int]]:
    return [(place, cell, width) for place, (cell, width) in enumerate(zip(row, widths, strict=True))]


def _heads(report: Report) -> list[str]:
    main, *others = report.measures
    shown = ["hit@1" if each == "Success@1" else each for each in others]
    return ["", main, f"against {report.baseline}", *shown, "p50", "p95", "per 1,000", "failed", f"judged@{report.k}"]


def _cells(report: Report, row: Row) -> list[str]:
    main, *others = report.measures
    return [
        row.name,
        f"{row.means[main]:.3f}",
        _against(row),
        *(f"{row.means[each]:.3f}" for each in others),
        _milliseconds(row.p50),
        _milliseconds(row.p95),
        "" if row.is_reference else "unknown" if row.dollars is None else f"${row.dollars:.2f}",
        "" if row.is_reference else str(sum(row.failures.values())),
        f"{100 * row.judged:.0f} %",
    ]


def _against(row: Row) -> str:
    gap = row.difference
    if gap is None:
        return ""
    between = f"[{gap.low:+.3f}, {gap.high:+.3f}]"
    return f"{gap.mean:+.3f} {between}" if gap.clear else f"no clear difference {between}"


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1000 * seconds:.1f} ms" if seconds < 0.01 else f"{1000 * seconds:.0f} ms"


def _notes(report: Report) -> list[str]:
    answered, asked = len(report.answered), len(report.data.queries)
    notes = [f"{answered} of {asked} queries have an answer among the labels; means are over these. Gain is linear."]
    if any(row.difference for row in report.rows.values()):
        notes.append(
            f"Differences of {report.measures[0]}: clear by a randomisation test with Holm's correction; intervals of "
            "95 % for all together by a paired bootstrap."
        )
        notes += [_FEW] if answered < _ENOUGH else []
    if any(row.p50 is not None for row in report.rows.values()):
        calls = "one call at a time" if report.at_once == 1 else f"{report.at_once} calls at once"
        notes.append(f"Latencies with {calls}; what runs on this machine was asked one at a time.")
    for row in report.rows.values():
        if row.failures:
            said = ", ".join(f"{count} x {name}" for name, count in sorted(row.failures.items()))
            notes.append(f"{row.name}: {said}; these queries count in the order of the first stage.")
    return notes


def _html_row(report: Report, row: Row) -> str:
    style = ' style="opacity:.65;font-style:italic"' if row.is_reference else ""
    cells = [html.escape(cell) for cell in _cells(report, row)]
    cells[1] = f"{_bar(row, row.means[report.measures[0]])}{cells[1]}"
    shown = "".join(
        f'<td style="text-align:{"left" if place in _TEXTS else "right"};white-space:nowrap">{cell}</td>'
        for place, cell in enumerate(cells)
    )
    return f"<tr{style}>{shown}</tr>"


def _bar(row: Row, share: float) -> str:
    """The mean as a bar, with its interval as a darker end."""
    return (
        '<div style="width:90px;height:.55em;background:rgba(128,128,128,.18);border-radius:3px;position:relative" '
        f'title="95 %: {row.low:.3f} to {row.high:.3f}">'
        f'<div style="width:{share * 100:.0f}%;height:100%;background:#4c78a8;border-radius:3px"></div>'
        f'<div style="position:absolute;top:0;left:{row.low * 100:.0f}%;width:{(row.high - row.low) * 100:.0f}%;'
        'height:100%;background:rgba(0,0,0,.25)"></div></div>'
    )
