"""A report as people see it: in a terminal, in a notebook, as pictures, as data, in CI."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from tests.support.harness import KEY
from tests.support.loopback import Loopback
from typer.testing import CliRunner

from anyrerank import BadRequestError, SQLiteCache
from anyrerank.cli.commands import app
from anyrerank.evaluation import Dataset, Report, compare, demo_set, label, read_labels
from anyrerank.evaluation.labelling import Labels, sides
from anyrerank.evaluation.outcomes import Outcome
from anyrerank.evaluation.reference import references

mpl.use("Agg")

COUNT = 40
DATA = Dataset(
    name="made <up>",
    queries={f"q{number}": f"<b>query</b> {number}" for number in range(COUNT)},
    documents={f"d{number}": f"<i>text</i> & {number}" for number in range(6)},
    labels={f"q{number}": {"d0": 2, "d1": 1, "d2": 0} for number in range(COUNT - 4)},
    candidates={f"q{number}": [f"d{each}" for each in (3, 1, 4, 0, 5, 2)] for number in range(COUNT)},
)


def outcomes(*order: int, seconds: float = 0.02, dollars: float | None = 0.001, fails: int = 0) -> dict[str, Outcome]:
    good = Outcome([f"d{each}" for each in order], [1.0] * len(order), seconds, dollars)
    bad = Outcome(DATA.candidates["q0"], error="RateLimitError")
    return {query: bad if place < fails else good for place, query in enumerate(DATA.queries)}


def made(**options: Any) -> Report:
    found = {
        "good": outcomes(0, 1, 2, 3, 4, 5),
        "bad & dear": outcomes(5, 4, 3, 2, 1, 0, seconds=0.2, dollars=None, fails=3),
        "free": outcomes(3, 1, 4, 0, 5, 2, dollars=0.0),
    }
    return Report.of(DATA, {**references(DATA), **found}, **{"k": 5, **options})


def test_the_rows_are_sorted_and_say_what_is_clear() -> None:
    report = made()
    assert list(report.rows)[:2] == ["oracle", "good"]
    good, bad, free = (report.rows[name].difference for name in ("good", "bad & dear", "free"))
    assert good is not None
    assert bad is not None
    assert free is not None
    assert (good.clear, bad.clear, free.clear) == (True, True, False)
    assert good.mean > 0 > bad.mean
    assert report.rows["first_stage"].difference is None
    assert made(baseline="good").rows["good"].difference is None


def test_in_a_terminal() -> None:
    lines = str(made()).splitlines()
    assert lines[0].split() == [
        *(
            "nDCG@5",
            "against",
            "first_stage",
            "RR@5",
            "R@5",
            "hit@1",
            "p50",
            "p95",
            "per",
            "1,000",
            "failed",
            "judged@5",
        ),
    ]
    shown = {line.split("  ")[0]: line for line in lines[1:7]}
    assert re.search(r"good +1\.000  \+0\.\d{3} \[\+0\.\d{3}, \+0\.\d{3}\] .* 20 ms +20 ms +\$1\.00 +0", shown["good"])
    assert "unknown" in shown["bad & dear"]
    assert "no clear difference [+0.000, +0.000]" in shown["free"]
    assert "36 of 40 queries have an answer among the labels; means are over these. Gain is linear." in lines
    assert "bad & dear: 3 x RateLimitError; these queries count in the order of the first stage." in lines


class Tags(HTMLParser):
    """Whether every tag that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "shown", [lambda r: r._repr_html_(), lambda r: r.to_html(), lambda r: r.losses("bad & dear")._repr_html_()]
)
def test_in_a_notebook(shown: Any) -> None:
    page = shown(made())
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "bad &amp; dear" in page
    assert not re.search(r"<b>query|<i>text|made <up>", page)


def test_losses_are_the_worst_queries_side_by_side() -> None:
    losses = made().losses("bad & dear", most=2)
    assert (losses.count, len(losses)) == (33, 2)
    loss = next(iter(losses))
    assert loss.after < loss.before
    assert [(each.document, each.grade, each.before, each.after) for each in loss.moved] == [
        ("d5", None, 5, 1),
        ("d4", None, 3, 2),
        ("d3", None, 1, 3),
        ("d2", 0, 6, 4),
        ("d1", 1, 2, 5),
        ("d0", 2, 4, 6),
    ]
    assert "bad & dear made 33 queries worse than first_stage on nDCG@5, the worst 2 of them" in str(losses)
    assert len(made().losses("good")) == 0
    assert made().losses("bad & dear", than="good").than == "good"


def test_for_ci() -> None:
    report = made()
    report.assert_better("good")
    report.assert_better("good", than="bad & dear", on="RR@5")
    with pytest.raises(AssertionError, match=r"free is not clearly better than first_stage on nDCG@5: \+0.000"):
        report.assert_better("free")
    with pytest.raises(AssertionError, match="bad & dear is not clearly better than good"):
        report.assert_better("bad & dear", than="good")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.difference("theirs"), "there is no theirs in this report; there are oracle, good"),
        (lambda r: r.losses("theirs"), "there is no theirs"),
        (lambda r: r.plot_ranks("q0", ["theirs"]), "there is no theirs"),
        (lambda r: r.plot_ranks("q99"), "there is no query q99"),
        (lambda r: r.difference("good", on="MAP"), "there is no measure MAP in this report; there are nDCG@5, RR@5"),
    ],
)
def test_what_a_report_does_not_have(ask: Any, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        ask(made())


def test_as_data(tmp_path: Path) -> None:
    report = made()
    frame = report.to_pandas()
    assert list(frame.index) == list(report.rows)
    assert frame.loc["good", "nDCG@5"] == 1.0
    assert frame.loc["bad & dear", "failures"] == 3
    text = report.to_json(tmp_path / "report.json")
    found = json.loads(tmp_path.joinpath("report.json").read_text())
    assert json.loads(text) == found
    assert found["outcomes"]["good"]["q0"]["ranking"] == ["d0", "d1", "d2", "d3", "d4", "d5"]
    assert "text" not in text.replace('"texts"', "")
    page = report.to_html(tmp_path / "report.html")
    assert tmp_path.joinpath("report.html").read_text(encoding="utf-8") == page
    assert "http" not in re.sub(r"base64,[^\"]+", "", page)


# Pictures


def test_quality_against_latency() -> None:
    axes = made().plot()
    words = [each.get_text() for each in axes.texts]
    assert {"good\n$1.00 / 1,000", "free\nfree", "bad & dear\nprice unknown", "first_stage", "random", "oracle"} == set(
        words
    )
    assert axes.get_xscale() == "log"
    dots = [np.asarray(each.get_offsets()).tolist() for each in axes.collections]
    assert [[20.0, 1.0]] in dots
    assert "made <up>: 36 queries" in axes.get_title()


def test_where_candidates_went() -> None:
    report = made()
    axes = report.plot_ranks("q0", ["good"])
    assert [each.get_text() for each in axes.get_xticklabels()] == ["first_stage", "good"]
    lines = {tuple(np.asarray(line.get_ydata()).astype(int).tolist()) for line in axes.lines}
    assert lines == {(1, 4), (2, 2), (3, 5), (4, 1), (5, 6), (6, 3)}
    assert {each.get_text() for each in axes.texts} == {"d0 (2)", "d1 (1)"}
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_dollars_are_dollars() -> None:
    named = Report.of(
        Dataset(
            queries={"q": r"between $5 and $\\x$"},
            documents=DATA.documents,
            labels={"q": {"d0": 1}},
            candidates={"q": ["d0"]},
        ),
        {name: {"q": Outcome(["d0"], [1.0], 0.1, 0.0)} for name in ("first_stage", "oracle", "random", r"$\\y$")},
        k=1,
    )
    for axes in (named.plot(), named.plot_ranks("q")):
        axes.figure.canvas.draw()
    assert axes.get_title() == r"between $5 and $\\x$"


def test_a_name_is_text() -> None:
    found = {"<img src=x>": outcomes(5, 4, 3, 2, 1, 0)}
    page = Report.of(DATA, {**references(DATA), **found}, k=5).to_html()
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page


# Labels by hand


def test_sides_are_blind_and_the_most_disputed_come_first() -> None:
    one = {**outcomes(0, 1, 2, 3, 4, 5), "q7": Outcome(["d5", "d4", "d3", "d2", "d1", "d0"])}
    two = outcomes(0, 1, 2, 3, 4, 5)
    first, *others = sides({"one": one, "two": two}, 2)
    assert first.query == "q7"
    assert {tuple(first.left), tuple(first.right)} == {("d0", "d1"), ("d5", "d4")}
    assert all(each.left == each.right == ["d0", "d1"] for each in others)
    on_the_left = [sides({"one": one, "two": two}, 2, seed=seed)[0].left == ["d5", "d4"] for seed in range(20)]
    assert 3 < sum(on_the_left) < 17
    with pytest.raises(BadRequestError, match="side by side takes two rankings"):
        sides({"one": one}, 2)


def test_labels_are_in_the_file_as_soon_as_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    labels = Labels(path=path)
    labels.give("q1", "d1", 3)
    labels.give("q1", "d2", 0)
    labels.give("q1", "d1", 2)
    assert read_labels(path) == {"q1": {"d1": 2, "d2": 0}}
    assert Labels(path=path).grades == {"q1": {"d1": 2, "d2": 0}}


def test_the_widget_saves_what_is_clicked(tmp_path: Path) -> None:
    found = {"one": outcomes(0, 1, 2, 3, 4, 5), "two": outcomes(5, 4, 3, 2, 1, 0)}
    box = label(DATA, found, tmp_path / "mine.tsv", k=2)
    title, columns, buttons = box.children
    assert "1 of 40" in title.value
    assert "&lt;b&gt;query" in title.value
    texts, toggles = columns.children[0].children[0], columns.children[0].children[1]
    assert "&lt;i&gt;text&lt;/i&gt; &amp;" in texts.value
    assert not any(name in json.dumps([each.value for each in (title, texts)]) for name in found)
    toggles.value = "mostly"
    ((query, grades),) = read_labels(tmp_path / "mine.tsv").items()
    assert list(grades.values()) == [2]
    buttons.children[1].click()
    assert "2 of 40" in box.children[0].value
    buttons.children[0].click()
    assert box.children[1].children[0].children[1].value == "mostly"
    assert query in DATA.queries


# The command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["compare", *arguments], env={"COLUMNS": "200"})


def test_the_command_compares_and_writes_a_page(tmp_path: Path) -> None:
    page, kept = tmp_path / "report.html", tmp_path / "kept.db"
    for calls in (60, 0):
        done = run("words=local/lexical", "--html", str(page), "--cache", str(kept), "-n", "10")
        assert done.exit_code == 0, done.output
        assert f"{calls} calls, about $0.0000: words {calls} ($0.0000)" in done.stderr
        assert done.stdout.splitlines()[1].startswith("oracle")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    with SQLiteCache(kept, ttl=None) as cache:
        said: list[str] = []
        compare({"words": "local/lexical"}, demo_set(candidates=10), cache=cache, announce=said.append)
    assert said == ["0 calls, about $0.0000: words 0 ($0.0000)"]


@pytest.mark.parametrize("page", ["missing/report.html", "."])
def test_a_page_that_cannot_be_written_is_said_before_anything_is_sent(
    tmp_path: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.setenv("COHERE_API_BASE", server.url)
    done = run("cohere/any", "--html", str(tmp_path / page))
    assert (done.exit_code, done.stdout, server.hits) == (1, "", [])
    assert done.stderr.startswith(f"error: {tmp_path / page} cannot be written: ")
    assert done.stderr.count("\n") == 1


def test_what_was_paid_for_is_shown_before_a_page_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = run("local/lexical", "--html", str(tmp_path / "report.html"))
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1].startswith("oracle")
    assert "error: matplotlib.figure cannot be imported" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_nothing_that_a_terminal_would_obey() -> None:
    done = run("\x1b[2J=local/lexical")
    assert "\ufffd[2J" in done.stdout
    assert "\ufffd[2J" in done.stderr
    assert "\x1b" not in done.output


def test_the_command_reads_folders_and_runs(tmp_path: Path) -> None:
    tmp_path.joinpath("qrels").mkdir()
    tmp_path.joinpath("qrels", "dev.tsv").write_text("q\ta\t1\n")
    tmp_path.joinpath("queries.jsonl").write_text('{"_id": "q", "text": "red planet"}')
    tmp_path.joinpath("corpus.jsonl").write_text('{"_id": "a", "text": "the red planet"}\n{"_id": "b", "text": "blue"}')
    tmp_path.joinpath("my.run").write_text("q Q0 b 1 2 x\nq Q0 a 2 1 x\n")
    given = ["local/lexical", "--data", str(tmp_path), "--split", "dev", "--json"]
    for more, first in ([], "a"), (["--run", str(tmp_path / "my.run")], "b"):
        found = json.loads(run(*given, *more).stdout)
        assert found["outcomes"]["first_stage"]["q"]["ranking"][0] == first
        assert found["outcomes"]["local/lexical"]["q"]["ranking"] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["local/lexical", "local/lexical"], "two models have the same name: write name=provider/model"),
        (["nothing"], "names no provider"),
        (["local/lexical", "--data", "nowhere"], "cannot be read: FileNotFoundError"),
        (["local/lexical", "--baseline", "x"], "baseline is one of"),
        (["local/lexical", "-k", "9" * 30], "k is an integer of at least 1, and at most 1000"),
        (["local/lexical", "--split", "dev"], "--split and --run go with a folder that --data names"),
        (["local/lexical", "--run", "my.run"], "--split and --run go with a folder that --data names"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
