"""A report as a table, as losses, as data, and as a check for CI."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.unit.evaluation.reports import DATA, make_report, outcomes

import anyrerank
from anyrerank import BadRequestError, evaluation
from anyrerank.evaluation import Dataset, Outcome, Report
from anyrerank.evaluation.references import references


def test_report_rows_are_sorted_and_tested_against_the_baseline() -> None:
    report = make_report()
    assert list(report.rows)[:2] == ["oracle", "good"]
    good, bad, free = (report.rows[name].difference for name in ("good", "bad & slow", "free"))
    assert good is not None
    assert bad is not None
    assert free is not None
    assert (good.significant, bad.significant, free.significant) == (True, True, False)
    assert good.mean > 0 > bad.mean
    assert report.rows["first_stage"].difference is None
    assert make_report(baseline="good").rows["good"].difference is None


def test_report_as_text_is_an_aligned_table_with_notes() -> None:
    lines = str(make_report()).splitlines()
    assert re.split(r" {2,}", lines[0].strip()) == [
        "nDCG@5",
        "vs. first_stage",
        "RR@5",
        "R@5",
        "hit@1",
        "p50",
        "p95",
        "cost per 1,000",
        "failed",
        "judged@5",
    ]
    rows = {line.split("  ")[0]: line for line in lines[1:7]}
    gap = r"\+0\.\d{3} \[\+0\.\d{3}, \+0\.\d{3}\] p<0\.001"
    assert re.search(rf"good +1\.000  {gap} .* 20 ms +20 ms +\$1\.00 +0", rows["good"])
    assert "unknown" in rows["bad & slow"]
    assert "+0.000 [+0.000, +0.000] p=1.000, not significant" in rows["free"]
    notes = "\n".join(lines[8:])
    assert "36 of 40 queries have a relevant document" in notes
    assert "bad & slow: 3 of 40 calls failed, 3 x RateLimitError" in notes
    assert "both corrected for 3 comparisons" in notes
    assert "better than" not in notes


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ((5, 4, 3, 2, 1, 0), r"a is better than b in nDCG@5: \+0\.\d{3} \[\+0\.\d{3}, \+0\.\d{3}\] p<0.001\."),
        (
            (0, 1, 2, 3, 5, 4),
            r"a and b cannot be told apart by these queries in nDCG@5: \+0\.000 \[\+0\.000, \+0\.000\] p=1.000\.",
        ),
    ],
)
def test_report_of_two_rerankers_says_which_one_is_better(second: tuple[int, ...], verdict: str) -> None:
    rerankers = {"a": outcomes(0, 1, 2, 3, 4, 5), "b": outcomes(*second)}
    assert re.search(verdict, str(Report.from_outcomes(DATA, {**references(DATA), **rerankers}, k=5)))


@pytest.mark.parametrize(
    ("cost", "shown"),
    [(0.0, "$0.00"), (0.0000007, "$0.00070"), (0.00009, "$0.090"), (0.0001, "$0.10"), (0.5, "$500.00")],
)
def test_report_shows_small_costs_with_two_digits(cost: float, shown: str) -> None:
    rerankers = {"a": outcomes(0, 1, 2, 3, 4, 5, cost=cost)}
    assert f" {shown} " in str(Report.from_outcomes(DATA, {**references(DATA), **rerankers}, k=5))


def test_thresholds_say_what_is_kept_and_lost() -> None:
    data = Dataset(
        queries={"q1": "one", "q2": "two", "q3": "three", "q4": "four"},
        documents={"a": "a", "b": "b", "c": "c"},
        labels={"q1": {"a": 1}, "q2": {"a": 1, "b": 2}, "q3": {"a": 0}},
        candidates={query: ["a", "b", "c"] for query in ("q1", "q2", "q3", "q4")},
    )
    answers = {
        "q1": Outcome(["a", "b", "c"], [0.90006, 0.2, None]),
        "q2": Outcome(["a", "c", "b"], [0.6, 0.5, 0.3]),
        "q3": Outcome(["a", "b", "c"], [0.4, 0.1, 0.0]),
        "q4": Outcome(["a", "b", "c"], error="RateLimitError"),
    }
    report = Report.from_outcomes(data, {**references(data), "ours": answers}, k=5)
    assert report.thresholds("ours").to_dict("records") == [
        {"threshold": 0.3, "results": 1.67, "relevant_kept": 1.0, "answers_lost": 0, "empty": 0},
        {"threshold": 0.6, "results": 0.67, "relevant_kept": 0.667, "answers_lost": 0, "empty": 1},
        {"threshold": 0.9, "results": 0.33, "relevant_kept": 0.333, "answers_lost": 1, "empty": 2},
    ]


class BalancedTags(HTMLParser):
    """Asserts that every tag that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "render", [lambda r: r._repr_html_(), lambda r: r.to_html(), lambda r: r.losses("bad & slow")._repr_html_()]
)
def test_report_as_html_is_balanced_and_escaped(render: Any) -> None:
    page = render(make_report())
    tags = BalancedTags()
    tags.feed(page)
    assert tags.open == []
    assert "bad &amp; slow" in page
    assert not re.search(r"<b>query|<i>text|<up>", page)


def test_report_as_html_escapes_the_names_of_rerankers() -> None:
    named = {"<img src=x>": outcomes(5, 4, 3, 2, 1, 0)}
    page = Report.from_outcomes(DATA, {**references(DATA), **named}, k=5).to_html()
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page


def test_losses_are_the_worst_queries_with_the_moves_of_candidates() -> None:
    losses = make_report().losses("bad & slow", limit=2)
    assert (losses.total, len(losses)) == (33, 2)
    loss = next(iter(losses))
    assert loss.after < loss.before
    assert [(move.document, move.grade, move.before, move.after) for move in loss.moves] == [
        ("d5", None, 5, 1),
        ("d4", None, 3, 2),
        ("d3", None, 1, 3),
        ("d2", 0, 6, 4),
        ("d1", 1, 2, 5),
        ("d0", 2, 4, 6),
    ]
    assert "bad & slow scores lower than first_stage on 33 queries (nDCG@5); showing the largest 2" in str(losses)


def test_wins_are_the_queries_that_rose_most() -> None:
    wins = make_report().wins("good", limit=3)
    assert (wins.total, len(wins), wins.direction) == (36, 3, "higher")
    assert all(win.after > win.before for win in wins)


def test_losses_of_a_better_reranker_are_empty() -> None:
    assert len(make_report().losses("good")) == 0


def test_losses_with_a_baseline_compare_with_it() -> None:
    assert make_report().losses("bad & slow", "good").baseline == "good"


def test_assert_better_with_a_significant_difference_passes() -> None:
    report = make_report()
    report.assert_better("good")
    report.assert_better("good", baseline="free", measure="RR@5")


def test_assert_better_without_one_raises() -> None:
    report = make_report()
    with pytest.raises(AssertionError, match=r"free is not significantly better than first_stage on nDCG@5: \+0.000"):
        report.assert_better("free")
    with pytest.raises(AssertionError, match="3 of 40 calls of bad & slow failed"):
        report.assert_better("bad & slow", baseline="good")


@pytest.mark.parametrize(("count", "says"), [(5, True), (6, False)])
def test_assert_better_says_when_no_difference_can_be_significant(count: int, says: bool) -> None:
    queries = {f"q{number}": f"word{number}" for number in range(count)}
    data = Dataset(
        queries=queries,
        documents={"d": "nothing", **queries},
        labels={query: {query: 1} for query in queries},
        candidates={query: ["d", query] for query in queries},
    )
    report = evaluation.compare({"lexical": "local/lexical"}, data, cache=None, announce=lambda line: None)
    with pytest.raises(AssertionError) as caught:
        report.assert_better("random")
    assert ("at least 6 must change" in str(caught.value)) is says


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.difference("theirs"), "no row 'theirs' in this report, only oracle, good"),
        (lambda r: r.difference("good", "theirs"), "no row 'theirs'"),
        (lambda r: r.losses("theirs"), "no row 'theirs'"),
        (lambda r: r.thresholds("theirs"), "no row 'theirs'"),
        (lambda r: r.thresholds("first_stage"), "first_stage has no scores of relevant documents"),
        (lambda r: r.losses("good", "theirs"), "no row 'theirs'"),
        (lambda r: r.plot_ranks("q0", ["theirs"]), "no row 'theirs'"),
        (lambda r: r.plot_ranks("q99"), "no query q99"),
        (lambda r: r.difference("good", measure="MAP"), "measure must be one of nDCG@5, RR@5"),
    ],
)
def test_report_with_an_unknown_name_raises(ask: Any, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        ask(make_report())


def test_to_pandas_has_a_line_for_each_row() -> None:
    report = make_report()
    frame = report.to_pandas()
    assert list(frame.index) == list(report.rows)
    assert frame.loc["good", "nDCG@5"] == 1.0
    assert frame.loc["good", "significant"]
    assert frame.loc["bad & slow", "failures"] == 3


def test_to_json_has_rankings_and_no_texts(tmp_path: Path) -> None:
    text = make_report().to_json(tmp_path / "report.json")
    content = json.loads(tmp_path.joinpath("report.json").read_text())
    assert json.loads(text) == content
    assert content["outcomes"]["good"]["q0"]["ranking"] == ["d0", "d1", "d2", "d3", "d4", "d5"]
    assert "text" not in text
    assert "query</b>" not in text


def test_to_html_writes_a_page_that_loads_nothing(tmp_path: Path) -> None:
    page = make_report().to_html(tmp_path / "report.html")
    assert tmp_path.joinpath("report.html").read_text(encoding="utf-8") == page
    assert "http" not in re.sub(r"base64,[^\"]+", "", page)


def test_to_html_has_wins_losses_differences_date_version_and_legend() -> None:
    report = make_report()
    page = re.sub(r"base64,[^\"]+", "", report.to_html())
    assert "<h2>Wins of good</h2>" in page
    assert "<h2>Losses of bad &amp; slow</h2>" in page
    assert "paired differences to first_stage" in page
    assert f"{report.created:%Y-%m-%d}" in page
    assert anyrerank.__version__ in page
    assert "Legend" in page


def test_to_html_names_every_cell_for_narrow_screens() -> None:
    page = make_report().to_html()
    assert 'name="viewport"' in page
    assert "@media(max-width" in page
    table = page[page.index('<table class="report"') : page.index("</table>")]
    assert table.count("<td") == table.count("<td data-label=") > 0


def test_public_classes_show_their_public_path() -> None:
    classes = [each for name in evaluation.__all__ if isinstance(each := getattr(evaluation, name), type)]
    assert {each.__module__ for each in classes} == {"anyrerank.evaluation"}


def test_report_survives_pickling() -> None:
    report = make_report()
    again = pickle.loads(pickle.dumps(report))  # noqa: S301
    assert again == report
    assert b"anyrerank.evaluation.report" not in pickle.dumps(report)


@pytest.mark.process
def test_evaluation_without_its_extra_names_the_install_command() -> None:
    code = "import sys; sys.modules['numpy'] = None; import anyrerank.evaluation"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert "MissingExtraError" in done.stderr
    assert "pip install 'anyrerank[evaluation]'" in done.stderr
