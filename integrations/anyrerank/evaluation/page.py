"""A report as a single HTML page, which loads nothing from elsewhere."""

from __future__ import annotations

import base64
import html
from io import BytesIO
from typing import TYPE_CHECKING

from anyrerank._core.runtime import needed
from anyrerank.evaluation.losses import losses
from anyrerank.evaluation.plots import plot_quality_against_latency
from anyrerank.evaluation.table import as_html

if TYPE_CHECKING:
    from anyrerank.evaluation.report import Report

_LOSSES = 5
"""Losses shown for each reranker."""
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.6em 0}th,td{padding:.25em .7em;border-bottom:1px solid #ddd;font-size:14px}"
    "th{text-align:left;font-weight:600}img{max-width:100%}h2{margin-top:1.6em}"
)


def as_page(report: Report) -> str:
    """The page: the table, the plot, and the worst losses of each reranker."""
    names = [name for name, row in report.rows.items() if not row.is_reference and name != report.baseline]
    lost = [losses(report, name, report.baseline, _LOSSES) for name in names]
    title = html.escape(f"{report.data.name}: {', '.join(names)}")
    parts = [
        f"<h1>{title}</h1>",
        as_html(report),
        f'<img alt="quality against latency" src="data:image/png;base64,{_plot(report)}">',
        *(f"<h2>Losses of {html.escape(each.name)}</h2>{each._repr_html_()}" for each in lost if each.total),
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _plot(report: Report) -> str:
    """The plot as base64, drawn without pyplot, which needs a display and keeps figures open."""
    figure = needed("matplotlib.figure", "evaluation").Figure(figsize=(7.5, 4.5), layout="constrained")
    plot_quality_against_latency(report, figure.subplots())
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return base64.b64encode(buffer.getvalue()).decode()
