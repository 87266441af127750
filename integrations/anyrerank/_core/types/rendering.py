"""Tables of results with score bars: HTML for notebooks, aligned text for terminals.

A row is (index in the input, score or `None`, document or `None`).
"""

from __future__ import annotations

import html
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from anyrerank._core.types.surrogates import repaired

TableRow: TypeAlias = tuple[int, float | None, Mapping[str, Any] | None]

_BAR = 16
_ROWS_SHOWN = 50


def text_table(headline: str, rows: Sequence[TableRow]) -> str:
    """An aligned table: rank, score with a bar, index in the input, beginning of the document."""
    width = max(20, shutil.get_terminal_size((100, 24)).columns - _BAR - 30)
    lines = [headline, f"{'rank':>4}  {'score':>9}  {'':{_BAR}}  {'input':>5}  document"]
    bars = _bar_lengths([score for _, score, _ in rows])
    for rank, ((index, score, document), bar) in enumerate(zip(rows[:_ROWS_SHOWN], bars, strict=False), start=1):
        filled = "█" * round(bar * _BAR)
        text = _snippet(document, width)
        lines.append(f"{rank:>4}  {_shown(score):>9}  {filled:{_BAR}}  {index:>5}  {text}".rstrip())
    return "\n".join([*lines, *_more(rows)])


def html_table(headline: str, rows: Sequence[TableRow]) -> str:
    """The same as an HTML table; every text is escaped."""
    shown = []
    bars = _bar_lengths([score for _, score, _ in rows])
    for rank, ((index, score, document), bar) in enumerate(zip(rows[:_ROWS_SHOWN], bars, strict=False), start=1):
        cells = (
            (str(rank), "right"),
            (html.escape(_shown(score)), "right"),
            (_html_bar(bar), "left"),
            (str(index), "right"),
            (html.escape(_snippet(document, 160)), "left"),
        )
        shown.append("<tr>" + "".join(f'<td style="text-align:{side}">{cell}</td>' for cell, side in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("rank", "score", "", "input", "document"))
    more = "".join(f"<div>{html.escape(line)}</div>" for line in _more(rows))
    return (
        f"<div><div>{html.escape(headline)}</div>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(shown)}</tbody></table>{more}</div>"
    )


def _html_bar(length: float) -> str:
    return (
        '<div style="width:120px;background:rgba(128,128,128,.18);border-radius:3px">'
        f'<div style="width:{length * 100:.0f}%;height:.7em;background:#4c78a8;border-radius:3px"></div></div>'
    )


def _more(rows: Sequence[TableRow]) -> list[str]:
    hidden = len(rows) - _ROWS_SHOWN
    return [f"... and {hidden} more"] if hidden > 0 else []


def _shown(score: float | None) -> str:
    return "none" if score is None else f"{score:.4f}"


def _bar_lengths(scores: Sequence[float | None]) -> list[float]:
    """Length of each bar, 0..1: the score if all are within 0..1, else its position between lowest and highest."""
    known = [score for score in scores if score is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low >= 0 and high <= 1 and high >= 0.1:
        low, high = 0.0, 1.0
    spread = high / 2 - low / 2 or 0.5  # halved, because the difference of two huge numbers is infinite
    return [0.0 if score is None else (score / 2 - low / 2) / spread for score in scores]


def _snippet(document: Mapping[str, Any] | None, width: int) -> str:
    document = document or {}
    text = str(document.get("text") or next(iter(document.values()), ""))
    return shortened(" ".join(repaired(text).split()), width)  # an unpaired surrogate cannot be printed


def shortened(text: str, width: int) -> str:
    """`text`, or its beginning and an ellipsis if it has more than `width` characters."""
    return text if len(text) <= width else f"{text[: width - 1]}…"
