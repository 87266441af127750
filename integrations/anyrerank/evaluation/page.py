"""A report as a single HTML page, which loads nothing from elsewhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from anyrerank._core.runtime import import_optional
from anyrerank.evaluation.changes import Changes, changes
from anyrerank.evaluation.plots import plot_differences, plot_quality_against_latency
from anyrerank.evaluation.table import as_html

if TYPE_CHECKING:
    from anyrerank.evaluation.scored import Scored

_LIMIT = 5
"""Wins and losses shown for each reranker."""
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.6em 0}th,td{padding:.25em .7em;border-bottom:1px solid #ddd;font-size:14px}"
    "th{text-align:left;font-weight:600}img{max-width:100%;height:auto}h2{margin-top:1.6em}"
    "td,div,h1{overflow-wrap:anywhere}dt{font-weight:600}dd{margin:0 0 .4em 1em}"
    "@media(max-width:900px){"
    ".report thead{display:none}.report,.report tbody,.report tr,.report td{display:block;width:auto}"
    ".report tr{border:1px solid #ccc;border-radius:6px;margin:.8em 0;padding:.4em}"
    ".report td{border:0;text-align:left!important;white-space:normal!important;padding:.1em .4em}"
    ".report td:empty{display:none}.report td::before{content:attr(data-label);color:#666;margin-right:.6em}"
    ".report td:first-child{font-weight:600}}"
)
_LEGEND = (
    (
        "first_stage, random, oracle",
        "References: the order of the candidates, a random order, the best possible order.",
    ),
    (
        "nDCG, RR, R",
        "Quality of the top results, 0 to 1: graded order, rank of the first relevant one, recall.",
    ),
    ("hit@1", "Share of queries with a relevant document in first place."),
    ("vs.", "Mean paired difference, its 95% interval and its p-value; significant if p is below 0.05."),
    ("p50, p95", "Median and 95th percentile of the time of a call."),
    ("judged", "Share of the top results that have a label; unlabelled ones count as not relevant."),
    ("*", "Some calls failed, and their queries count with the order of the first stage."),
    ("green rows", "Documents that are labelled as relevant."),
)


def as_page(report: Scored) -> str:
    """The page: the table with its legend, the plots, and the largest wins and losses of each reranker."""
    names = [name for name, row in report.rows.items() if not row.is_reference and name != report.baseline]
    title = html.escape(f"{report.data.name}: {', '.join(names)}")
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{report.created:%Y-%m-%d %H:%M} UTC, anyrerank {html.escape(report.version)}</p>",
        as_html(report),
        f"<details open><summary>Legend</summary>{_legend()}</details>",
        _image(plot_quality_against_latency, report, "quality against latency", 4.5),
    ]
    if compared := [name for name in names if report.rows[name].difference is not None]:
        height = 1.2 + 0.7 * len(compared)
        parts.append(_image(plot_differences, report, f"paired differences to {report.baseline}", height))
    parts += [_section(each) for name in compared for each in _wins_and_losses(report, name)]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style>"
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _wins_and_losses(report: Scored, name: str) -> Iterator[Changes]:
    for wins in (True, False):
        yield changes(report, name, report.baseline, _LIMIT, wins=wins)


def _section(each: Changes) -> str:
    heading = "Wins" if each.direction == "higher" else "Losses"
    return f"<h2>{heading} of {html.escape(each.name)}</h2>{each._repr_html_()}"


def _legend() -> str:
    rows = "".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in _LEGEND)
    return f"<dl>{rows}</dl>"


def _image(plot: Callable[..., Any], report: Scored, title: str, height: float) -> str:
    """The plot as an image, drawn without pyplot, which needs a display and keeps figures open."""
    figure = import_optional("matplotlib.figure", "evaluation").Figure(figsize=(9.0, height), layout="constrained")
    plot(report, figure.subplots())
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<p><img alt="{html.escape(title)}" src="data:image/png;base64,{data}"></p>'
