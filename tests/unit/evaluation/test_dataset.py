"""`Dataset`, and the labelled dataset that ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anyrerank import BadRequestError, evaluation
from anyrerank.evaluation import Dataset, Report, demo_set, read_labels
from anyrerank.evaluation.dataset import has_relevant
from anyrerank.evaluation.references import references

DATA = Dataset(
    name="planets",
    queries={"q1": "red?", "q2": "hot?"},
    documents={"d1": "Mars\nis red", "d2": "Venus is hot"},
    labels={"q1": {"d1": 2}, "q2": {"d2": 1, "d1": 0}},
    candidates={"q1": ["d2", "d1"], "q2": ["d1", "d2"]},
)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": {}}, "queries must not be empty"),
        ({"labels": {"q7": {"d1": 1}}}, "labels refer to an unknown query: q7"),
        ({"candidates": {"q1": ["d1", "d9"]}}, "candidates of query q1 refer to an unknown document: d9"),
        ({"candidates": {"q1": ["d1", "d1"]}}, "candidates of query q1 contain a document twice"),
    ],
)
def test_dataset_with_inconsistent_ids_raises(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        replace(DATA, **changed)


def test_dataset_repr_counts_and_shows_no_text() -> None:
    assert repr(DATA) == (
        "Dataset('planets': 2 queries, 2 of them with a relevant document, 2 documents, candidates for 2 queries)"
    )
    assert "secret" not in repr(Dataset(queries={"q": "secret question"}, documents={"d": "secret text"}))


def test_dataset_with_lexical_candidates_ranks_all_documents() -> None:
    assert DATA.with_lexical_candidates(1).candidates == {"q1": ["d1"], "q2": ["d2"]}
    assert DATA.with_lexical_candidates(5).candidates == {"q1": ["d1", "d2"], "q2": ["d2", "d1"]}


def test_dataset_select_keeps_labels_and_candidates_of_the_selected_queries() -> None:
    selected = DATA.select(["q2"])
    assert selected.queries == {"q2": "hot?"}
    assert selected.labels == {"q2": {"d2": 1, "d1": 0}}
    assert selected.candidates == {"q2": ["d1", "d2"]}
    assert selected.documents == DATA.documents


# The dataset that ships


def test_demo_set_leaves_room_between_random_first_stage_and_oracle() -> None:
    data = demo_set(candidates=50)
    assert (len(data.queries), len(data.documents)) == (60, 120)
    assert sum(map(has_relevant, data.labels.values())) == 55
    report = Report.from_outcomes(data, references(data), k=10)
    means = {name: row.means["nDCG@10"] for name, row in report.rows.items()}
    assert means["random"] < 0.3
    assert 0.3 < means["first_stage"] < 0.85
    assert means["first_stage"] + 0.15 < means["oracle"] < 1.0
    everything = replace(data, candidates={query: list(data.documents) for query in data.queries})
    report = Report.from_outcomes(everything, references(everything), k=10)
    assert report.rows["oracle"].means["nDCG@10"] == 1.0


def test_demo_set_splits_are_disjoint_halves() -> None:
    development, held_out = demo_set(split="development"), demo_set(split="held-out")
    assert development.queries.keys() | held_out.queries.keys() == demo_set().queries.keys()
    assert not development.queries.keys() & held_out.queries.keys()
    assert len(development.queries) == len(held_out.queries) == 30
    assert {len(candidates) for candidates in development.candidates.values()} == {30}
    assert development.labels.keys() == development.queries.keys() == development.candidates.keys()


def test_demo_set_labels_are_the_lower_grade_of_both_labellers() -> None:
    folder = Path(str(evaluation.__file__)).parent / "data" / "demo_v1"
    author, blind, merged = (
        read_labels(folder / name) for name in ("qrels_author.tsv", "qrels_blind.tsv", "qrels/test.tsv")
    )
    for query, grades in merged.items():
        for document, grade in grades.items():
            first = author.get(query, {}).get(document, 0)
            second = blind.get(query, {}).get(document)
            assert grade == (first if second is None else min(first, second))
    pairs = {(q, d) for labels in (author, blind) for q, grades in labels.items() for d in grades}
    assert sum(map(len, merged.values())) == len(pairs) == 1366
