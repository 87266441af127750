"""How a response shows itself: a table with score bars in a notebook, an aligned one in a terminal."""

from __future__ import annotations

import html
import shutil
from collections.abc import Sequence

from anyrerank._core.types.schema import RerankResponse, RerankResult

_BAR = 16
_SHOWN_ROWS = 50


def as_text(response: RerankResponse) -> str:
    """An aligned table: rank, score with a bar, place in the input, beginning of the document."""
    width = max(20, shutil.get_terminal_size((100, 24)).columns - _BAR - 30)
    lines = [_headline(response), f"{'rank':>4}  {'score':>9}  {'':{_BAR}}  {'input':>5}  document"]
    shares = _shares(response.results)
    for rank, (result, share) in enumerate(zip(response.results[:_SHOWN_ROWS], shares, strict=False), start=1):
        filled = "█" * round(share * _BAR)
        text = _snippet(result, width)
        lines.append(f"{rank:>4}  {_score(result):>9}  {filled:{_BAR}}  {result.index:>5}  {text}".rstrip())
    return "\n".join([*lines, *_rest(response)])


def as_html(response: RerankResponse) -> str:
    """The same as an HTML table; every text is escaped."""
    rows = []
    shares = _shares(response.results)
    for rank, (result, share) in enumerate(zip(response.results[:_SHOWN_ROWS], shares, strict=False), start=1):
        bar = (
            '<div style="width:120px;background:rgba(128,128,128,.18);border-radius:3px">'
            f'<div style="width:{share * 100:.0f}%;height:.7em;background:#4c78a8;border-radius:3px"></div></div>'
        )
        cells = (
            (str(rank), "right"),
            (html.escape(_score(result)), "right"),
            (bar, "left"),
            (str(result.index), "right"),
            (html.escape(_snippet(result, 160)), "left"),
        )
        rows.append("<tr>" + "".join(f'<td style="text-align:{side}">{cell}</td>' for cell, side in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("rank", "score", "", "input", "document"))
    rest = "".join(f"<div>{html.escape(line)}</div>" for line in _rest(response))
    return (
        f"<div><div>{html.escape(_headline(response))}</div>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{rest}</div>"
    )


def _headline(response: RerankResponse) -> str:
    parts = [f"{response.provider}/{response.model}", f"{len(response.results)} results"]
    parts.append(f"{response.latency * 1000:.0f} ms")
    if response.cost is not None:
        parts.append(f"${response.cost:.6f}")
    if response.degraded:
        parts.append("DEGRADED: incoming order, no scores")
    return " · ".join(parts)


def _rest(response: RerankResponse) -> list[str]:
    hidden = len(response.results) - _SHOWN_ROWS
    return [f"... and {hidden} more"] if hidden > 0 else []


def _score(result: RerankResult) -> str:
    return "none" if result.relevance_score is None else f"{result.relevance_score:.4f}"


def _shares(results: Sequence[RerankResult]) -> list[float]:
    """Length of each bar, 0..1: the score where all are within 0..1, else its place between the lowest and highest."""
    scores = [result.relevance_score for result in results if result.relevance_score is not None]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    if low >= 0 and high <= 1 and high >= 0.1:
        low, high = 0.0, 1.0
    spread = high / 2 - low / 2 or 0.5  # halved, because the difference of two huge numbers is infinite
    return [0.0 if r.relevance_score is None else (r.relevance_score / 2 - low / 2) / spread for r in results]


def _snippet(result: RerankResult, width: int) -> str:
    document = result.document or {}
    text = " ".join(str(document.get("text") or next(iter(document.values()), "")).split())
    return text if len(text) <= width else text[: width - 1] + "…"
