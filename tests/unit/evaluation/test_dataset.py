"""`Dataset`, and the labelled dataset that ships."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
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
        ({"labels": {"q7": {"d1": 1}}}, "no label refers to a known query and document.* q7"),
        ({"labels": {"q1": {"d1": 0.5}}}, "label of document d1 for query q1.*whole number"),
        ({"labels": {"q1": {"d1": None}}}, "label of document d1 for query q1.*whole number"),
        ({"candidates": {"q1": ["d8", "d9"]}}, "no candidate refers to a known query and document.* d8"),
        ({"queries": ["red?"]}, "queries must be a mapping such as .*, got list"),
        ({"documents": ["Mars"]}, "documents must be a mapping such as .*, got list"),
        ({"documents": {"d1": 5, "d2": "b"}}, "document d1 must be a string or a mapping with a 'text', got int"),
        ({"queries": {0: "red?"}}, "the ids in queries must be strings, got int"),
        ({"documents": {0: "Mars"}}, "the ids in documents must be strings, got int"),
        ({"labels": None}, "labels must be a mapping such as .*, got NoneType"),
        ({"labels": {"q1": "d1"}}, "the labels of query q1 must be a list of ids, or grades by id, got str"),
        ({"labels": {"q1": None}}, "the labels of query q1 must be a list of ids, or grades by id, got NoneType"),
        ({"labels": {"q1": [["d1"]]}}, "the ids in the labels of query q1 must be strings"),
        ({"labels": {"q1": {0: 1}}}, "the ids in the labels of query q1 must be strings, got int"),
        ({"labels": pd.DataFrame({"q1": [1]})}, "the ids in the labels of query q1 must be strings, got int"),
        ({"candidates": None}, "candidates must be a mapping such as .*, got NoneType"),
        (
            {"candidates": {"q1": "d1"}},
            "the candidates of query q1 must be a list .* got str",
        ),
        ({"candidates": {"q1": {"d1": 0.5}}}, "the candidates of query q1 must be a list .* got dict"),
        ({"candidates": {"q1": None}}, "the candidates of query q1 must be a list .* got NoneType"),
    ],
)
def test_dataset_with_a_wrong_part_raises(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        replace(DATA, **changed)


def test_dataset_can_be_made_of_pandas_and_numpy() -> None:
    data = Dataset(
        name="planets",
        queries=pd.Series(DATA.queries),
        documents=pd.Series(DATA.documents),
        labels={query: pd.Series(grades) for query, grades in DATA.labels.items()},
        candidates={query: cast("Any", np.array(ids)) for query, ids in DATA.candidates.items()},
    )
    assert data == DATA


@pytest.mark.parametrize("ids", [["d1"], ("d1",), {"d1"}, np.array(["d1"])], ids=lambda ids: type(ids).__name__)
def test_dataset_with_labels_that_are_ids_grades_each_as_1(ids: Any) -> None:
    assert replace(DATA, labels={"q1": ids}).labels == {"q1": {"d1": 1}}


def test_dataset_with_unknown_ids_leaves_them_out_and_warns_once() -> None:
    labels: Any = {"q1": {"d1": 1.0, "d7": 1, "d8": 1}, "q7": {"d1": 1}}
    with pytest.warns(UserWarning, match="skipped") as warned:
        data = replace(DATA, labels=labels, candidates={"q1": ["d2", "d9", "d1", "d2"], "q8": ["d1"]})
    assert data.labels == {"q1": {"d1": 1}}
    assert data.candidates == {"q1": ["d2", "d1"]}
    (warning,) = warned
    for part in ("2 labels of documents", "1 candidates found twice", "d7", "q7", "d9", "q8"):
        assert part in str(warning.message)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA], ids=repr)
def test_dataset_with_missing_texts_leaves_out_queries_and_has_blank_documents(missing: Any) -> None:
    with pytest.warns(UserWarning, match="2 queries without a text .*1 texts of documents"):
        data = Dataset(
            queries={"q1": "red?", "q2": missing, "q3": " "},
            documents={"d1": "Mars is red", "d2": missing},
            labels={"q1": {"d1": 1, "d2": 0}},
            candidates={"q1": ["d2", "d1"]},
        )
    assert (data.queries, data.documents) == ({"q1": "red?"}, {"d1": "Mars is red", "d2": ""})
    report = evaluation.compare({"lexical": "local/lexical"}, data, announce=lambda _: None)
    assert not report.rows["lexical"].failures


SELF = Dataset(
    queries={"a": "Uniforms reduce bullying", "b": "sugar  TAXES work"},
    documents={"a": "Uniforms reduce bullying", "c": "Health\nSugar taxes work", "d": "Uniforms", "e": "Sugar"},
)


def test_with_lexical_candidates_leaves_out_the_query_itself_and_tops_up() -> None:
    assert SELF.with_lexical_candidates(2).candidates["a"][0] == "d"
    assert len(SELF.with_lexical_candidates(2).candidates["a"]) == 2
    assert SELF.with_lexical_candidates(1).candidates["b"] == ["e"]


def test_with_lexical_candidates_with_include_self_finds_the_query() -> None:
    found = SELF.with_lexical_candidates(1, include_self=True).candidates
    assert found == {"a": ["a"], "b": ["c"]}


def test_with_lexical_candidates_with_a_relevant_document_of_the_same_text_finds_it() -> None:
    labelled = replace(SELF, labels={"b": {"c": 1}})
    assert labelled.with_lexical_candidates(1).candidates["b"] == ["c"]


def test_first_stage_names_a_search_of_this_package_only() -> None:
    found = DATA.with_lexical_candidates(1)
    assert "lexical" in str(found.first_stage)
    assert "lexical" in str(pickle.loads(pickle.dumps(found.select(["q1"]))).first_stage)  # noqa: S301
    assert replace(found, candidates={"q1": ["d1"]}).first_stage is None


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
