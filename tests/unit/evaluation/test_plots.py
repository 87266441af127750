"""The plots of a report."""

from __future__ import annotations

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from tests.unit.evaluation.reports import DATA, make_report, outcomes

from anyrerank.evaluation import Dataset, Outcome, Report
from anyrerank.evaluation.references import references

mpl.use("Agg")


def test_plot_shows_a_dot_for_each_reranker_and_a_line_for_each_reference() -> None:
    axes = make_report().plot()
    assert len(axes.texts) == 0
    legend = axes.get_legend()
    assert legend is not None
    assert {each.get_text() for each in legend.get_texts()} == {
        "good, $1.00 per 1,000",
        "free, free",
        "bad & slow, price unknown",
        "first_stage",
        "random",
        "oracle",
    }
    assert axes.get_xscale() == "log"
    assert [[20.0, 1.0]] in [np.asarray(each.get_offsets()).tolist() for each in axes.collections]
    assert "made <up>: 36 queries" in axes.get_title()


@pytest.mark.parametrize("latencies", [(0.02, 0.03), (0.001, 0.5), (0.00001, 30.0)])
def test_plot_ticks_do_not_overlap(latencies: tuple[float, float]) -> None:
    rerankers = {str(each): outcomes(0, 1, 2, 3, 4, 5, latency=each) for each in latencies}
    axes = Report.from_outcomes(DATA, {**references(DATA), **rerankers}, k=5).plot()
    axes.figure.canvas.draw()
    boxes = sorted((each.get_window_extent() for each in axes.get_xticklabels() if each.get_text()), key=lambda b: b.x0)
    assert len(boxes) >= 3
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert [each.get_text() for each in axes.get_xticklabels(minor=True)] == []


def test_plot_differences_shows_a_dot_for_each_query() -> None:
    axes = make_report().plot_differences()
    assert [each.get_text() for each in axes.get_yticklabels()] == ["good", "free", "bad & slow"]
    assert [len(np.asarray(each.get_offsets())) for each in axes.collections[::2]] == [36, 36, 36]


def test_plot_ranks_shows_a_line_for_each_candidate() -> None:
    axes = make_report().plot_ranks("q0", ["good"])
    assert [each.get_text() for each in axes.get_xticklabels()] == ["first_stage", "good"]
    lines = {tuple(np.asarray(line.get_ydata()).astype(int).tolist()) for line in axes.lines}
    assert lines == {(1, 4), (2, 2), (3, 5), (4, 1), (5, 6), (6, 3)}
    assert {each.get_text() for each in axes.texts} == {"d0 (2)", "d1 (1)"}
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_plots_with_dollar_signs_do_not_read_them_as_math() -> None:
    report = Report.from_outcomes(
        Dataset(
            queries={"q": r"between $5 and $\\x$"},
            documents=DATA.documents,
            labels={"q": {"d0": 1}},
            candidates={"q": ["d0"]},
        ),
        {name: {"q": Outcome(["d0"], [1.0], 0.1, 0.0)} for name in ("first_stage", "oracle", "random", r"$\\y$")},
        k=1,
    )
    for axes in (report.plot(), report.plot_ranks("q")):
        axes.figure.canvas.draw()
    assert axes.get_title() == r"between $5 and $\\x$"
