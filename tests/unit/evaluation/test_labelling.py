"""Labelling by hand: the file, the pairs, and the widget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.evaluation.reports import DATA, outcomes

from anyrerank import BadRequestError
from anyrerank.evaluation import Outcome, label, read_labels
from anyrerank.evaluation.labelling import LabelFile, side_by_side


def test_side_by_side_hides_the_names_and_starts_with_the_least_agreement() -> None:
    one = {**outcomes(0, 1, 2, 3, 4, 5), "q7": Outcome(["d5", "d4", "d3", "d2", "d1", "d0"])}
    two = outcomes(0, 1, 2, 3, 4, 5)
    first, *others = side_by_side({"one": one, "two": two}, 2)
    assert first.query == "q7"
    assert {tuple(first.left), tuple(first.right)} == {("d0", "d1"), ("d5", "d4")}
    assert all(each.left == each.right == ["d0", "d1"] for each in others)
    on_the_left = [side_by_side({"one": one, "two": two}, 2, seed=seed)[0].left == ["d5", "d4"] for seed in range(20)]
    assert 3 < sum(on_the_left) < 17


def test_side_by_side_of_a_single_ranking_raises() -> None:
    with pytest.raises(BadRequestError, match="two rankings"):
        side_by_side({"one": outcomes(0, 1, 2, 3, 4, 5)}, 2)


def test_label_file_saves_every_grade_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    labels = LabelFile(path)
    for document, grade in (("d1", 3), ("d2", 0), ("d1", 2)):
        labels.set_grade("q1", document, grade)
    assert read_labels(path) == {"q1": {"d1": 2, "d2": 0}}
    assert LabelFile(path).grades == {"q1": {"d1": 2, "d2": 0}}


def test_label_widget_saves_what_is_clicked(tmp_path: Path) -> None:
    rankings = {"one": outcomes(0, 1, 2, 3, 4, 5), "two": outcomes(5, 4, 3, 2, 1, 0)}
    box = label(DATA, rankings, tmp_path / "mine.tsv", k=2)
    title, columns, buttons = box.children
    assert "1 of 40" in title.value
    assert "&lt;b&gt;query" in title.value
    text, grading = columns.children[0].children[0], columns.children[0].children[1]
    assert "&lt;i&gt;text&lt;/i&gt; &amp;" in text.value
    assert not any(name in json.dumps([title.value, text.value]) for name in rankings)
    grading.value = "mostly"
    ((query, grades),) = read_labels(tmp_path / "mine.tsv").items()
    assert query in DATA.queries
    assert list(grades.values()) == [2]
    buttons.children[1].click()
    assert "2 of 40" in box.children[0].value
    buttons.children[0].click()
    assert box.children[1].children[0].children[1].value == "mostly"
