"""Data in and out: folders, frames, retrievers, runs; what is wrong with them is said with its place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import BaseModel

from anyrerank import BadRequestError, evaluation
from anyrerank.evaluation import (
    Dataset,
    Report,
    compare,
    demo_set,
    from_beir,
    from_langchain,
    from_llama_index,
    from_pandas,
    read_labels,
    read_run,
)
from anyrerank.evaluation.metrics import is_answered
from anyrerank.evaluation.reference import references

CORPUS = [{"_id": "d1", "title": "Mars", "text": "is red"}, {"_id": "d2", "title": "", "text": "Venus is hot"}]
QUERIES = [{"_id": "q1", "text": "red?"}, {"_id": "q2", "text": "hot?"}, {"_id": "q9", "text": "unlabelled"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t1\nq2\td1\t0\n"


def beir(folder: Path, **files: str) -> Path:
    content = {
        "corpus.jsonl": "".join(json.dumps(row) + "\n" for row in CORPUS),
        "queries.jsonl": "".join(json.dumps(row) + "\n\n" for row in QUERIES),
        "qrels/test.tsv": QRELS,
        **{name.replace("__", "/").replace("_", "."): text for name, text in files.items()},
    }
    folder.joinpath("qrels").mkdir()
    for name, text in content.items():
        folder.joinpath(name).write_text(text, encoding="utf-8")
    return folder


def test_a_folder_of_beirs(tmp_path: Path) -> None:
    data = from_beir(beir(tmp_path), name="planets")
    assert data.queries == {"q1": "red?", "q2": "hot?"}
    assert data.documents == {"d1": "Mars\nis red", "d2": "Venus is hot"}
    assert data.labels == {"q1": {"d1": 2}, "q2": {"d2": 1, "d1": 0}}
    assert repr(data) == "Dataset('planets': 2 queries, 2 with an answer, 2 documents, candidates for 0)"
    assert data.retrieved(1).candidates == {"q1": ["d1"], "q2": ["d2"]}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"corpus_jsonl": "{"}, "corpus.jsonl, line 1: not a JSON object with _id and text"),
        ({"corpus_jsonl": '{"_id": "d1", "text": "a"}\n{"_id": 2, "text": "b"}'}, "corpus.jsonl, line 2"),
        ({"corpus_jsonl": "[" * 200_000}, "corpus.jsonl, line 1: not a JSON object with _id and text"),
        ({"qrels__test_tsv": f"q1\td1\t{'1' * 5000}"}, "line 1: the grade is not a whole number of at most 9 digits"),
        ({"corpus_jsonl": '{"_id": "d1", "text": "a"}\n' * 2}, "corpus: the id d1 is there 2 times"),
        ({"queries_jsonl": '{"_id": "q1", "text": "a"}\n' * 3}, "queries: the id q1 is there 3 times"),
        ({"qrels__test_tsv": "query-id\tcorpus-id\tscore\nq1\td1\tgood"}, "test.tsv, line 2: the grade is not a whole"),
        ({"qrels__test_tsv": "q1\td1\t1\nq1\td1\t1"}, "line 2: this document of the query q1 is labelled twice"),
        ({"qrels__test_tsv": "q1\td1\t1\nq1\t1"}, "line 2: a label is a query, a document and a grade"),
        ({"qrels__test_tsv": "q7\td1\t1"}, "the query q7 has labels, and is not in queries.jsonl"),
        ({"qrels__test_tsv": "q1\td7\t1"}, "labels of the query q1: there is no document d7"),
    ],
    ids=str,
)
def test_a_folder_that_is_not(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        from_beir(beir(tmp_path, **files))
    assert message in caught.value.message


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match=r"test.tsv cannot be read: FileNotFoundError"):
        from_beir(tmp_path)


def test_trecs_forms(tmp_path: Path) -> None:
    data = replace(from_beir(beir(tmp_path)), candidates={"q1": ["d2", "d1"], "q2": ["d1", "d2"]})
    report = Report.of(data, references(data), k=2)
    written = report.to_trec(tmp_path / "out")
    assert [path.name for path in written] == ["first_stage.run", "random.run", "oracle.run", "labels.qrels"]
    assert written[0].read_text().splitlines()[0] == "q1 Q0 d2 1 2 first_stage"
    assert read_run(written[0]) == data.candidates
    assert read_run(written[2]) == {"q1": ["d1", "d2"], "q2": ["d2", "d1"]}
    assert read_labels(written[-1]) == data.labels


def test_characters_that_end_a_line_elsewhere(tmp_path: Path) -> None:
    row = json.dumps({"_id": "d1", "text": "one\u2028two\u0085three"}, ensure_ascii=False)
    data = from_beir(beir(tmp_path, corpus_jsonl=f'{row}\n{{"_id": "d2", "text": "b"}}\n'))
    assert data.documents["d1"] == "one\u2028two\u0085three"


def test_two_rankings_are_not_written_to_one_file(tmp_path: Path) -> None:
    data = replace(from_beir(beir(tmp_path)), candidates={"q1": ["d2", "d1"], "q2": ["d1", "d2"]})
    found = references(data)
    report = Report.of(data, {**found, "a/b": found["oracle"], "a_b": found["random"]}, k=2)
    with pytest.raises(BadRequestError, match="the same file"):
        report.to_trec(tmp_path / "out")


@pytest.mark.parametrize("line", ["q1 Q0 d1", "q1 Q0 d1 first 2 x", "q1 Q0 d1 1 high x"])
def test_a_run_that_is_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.run"
    path.write_text(f"q1 Q0 d2 1 9 x\n{line}\n")
    with pytest.raises(BadRequestError, match=r"a.run, line 2: a line of a run is a query"):
        read_run(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": {}}, "there is no query"),
        ({"labels": {"q7": {"d1": 1}}}, "labels: there is no query q7"),
        ({"candidates": {"q1": ["d1", "d9"]}}, "candidates of the query q1: there is no document d9"),
    ],
)
def test_ids_that_lead_nowhere(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        replace(from_beir(beir(tmp_path)), **changed)


def test_a_frame() -> None:
    frame = pd.DataFrame(
        {
            "query": ["red?", "red?", "hot?", "hot?"],
            "document": ["Venus", "Mars", "Venus", "Pluto"],
            "label": [0, 1, 2, None],
        }
    )
    data = from_pandas(frame)
    assert data.queries == {"q1": "red?", "q2": "hot?"}
    assert data.documents == {"d1": "Venus", "d2": "Mars", "d3": "Pluto"}
    assert data.candidates == {"q1": ["d1", "d2"], "q2": ["d1", "d3"]}
    assert data.labels == {"q1": {"d1": 0, "d2": 1}, "q2": {"d1": 2}}
    assert from_pandas(frame.drop(columns="label"), label=None).labels == {}
    for kind in ("Int64", "object"):
        assert from_pandas(frame.astype({"label": kind})).labels == data.labels


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"query": ["a"], "text": ["b"]}, "the frame has no column 'document'; it has query, text"),
        ({"query": ["a"], "document": ["b"], "label": [0.5]}, "row 0 of the frame: a label is a whole number"),
        ({"query": ["a"], "document": ["b"], "label": [float("inf")]}, "row 0 of the frame: a label is a whole number"),
        ({"query": ["a"], "document": ["b"], "label": ["good"]}, "row 0 of the frame: a label is a whole number"),
        ({"query": ["a"] * 2, "document": ["b"] * 2, "label": [1] * 2}, "a document is there twice for the query q1"),
    ],
)
def test_a_frame_that_cannot_be_read(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        from_pandas(pd.DataFrame(columns))


def test_a_retriever_of_langchains() -> None:
    found = [Document("Venus", id="v"), Document("Mars", metadata={"id": "m"})]
    data = from_langchain(RunnableLambda(lambda question: found), {"red?": {"m": 3}, "far?": ["p"]})
    assert data.candidates == {"q1": ["v", "m"], "q2": ["v", "m"]}
    assert data.labels == {"q1": {"m": 3}, "q2": {"p": 1}}
    report = compare({"words": "local/lexical"}, data, cache=None, announce=lambda line: None)
    assert report.scores["oracle"]["nDCG@10"] == {"q1": 1.0, "q2": 0.0}
    twice: Any = RunnableLambda(lambda question: [Document(question, id="same")])
    with pytest.raises(BadRequestError, match="two documents that the retriever found have the id same: give id_of="):
        from_langchain(twice, {"red?": ["m"], "far?": ["p"]})
    with pytest.raises(BadRequestError, match="has no id: give id_of="):
        from_langchain(RunnableLambda(lambda question: [Document("x")]), {"red?": ["m"]})
    assert from_langchain(
        RunnableLambda(lambda question: found), {"red?": ["Mars"]}, id_of=lambda each: str(each.page_content)
    ).candidates == {"q1": ["Venus", "Mars"]}


class FinetuneDataset(BaseModel):
    """The fields of `EmbeddingQAFinetuneDataset`, which is in a package of its own (llama-index-finetuning)."""

    queries: dict[str, str]
    corpus: dict[str, str]
    relevant_docs: dict[str, list[str]]


class Finds:
    """A retriever of LlamaIndex's, as far as it is used."""

    def retrieve(self, query: str) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(id_=each, text=each)) for each in ("n2", "n1")]


def test_a_dataset_of_llama_indexs() -> None:
    dataset = FinetuneDataset(queries={"q": "red?"}, corpus={"n1": "Mars", "n2": "Venus"}, relevant_docs={"q": ["n1"]})
    data = from_llama_index(dataset, Finds())
    assert (data.labels, data.candidates) == ({"q": {"n1": 1}}, {"q": ["n2", "n1"]})
    assert from_llama_index(dataset).candidates == {}


# The set that ships


def test_the_set_that_ships_is_neither_too_easy_nor_out_of_reach() -> None:
    data = demo_set(candidates=50)
    assert (len(data.queries), len(data.documents)) == (60, 120)
    assert sum(is_answered(grades) for grades in data.labels.values()) == 55
    means = {name: row.means["nDCG@10"] for name, row in Report.of(data, references(data), k=10).rows.items()}
    assert means["random"] < 0.3
    assert 0.3 < means["first_stage"] < 0.85
    assert means["first_stage"] + 0.15 < means["oracle"] < 1.0
    everything = replace(data, candidates={query: list(data.documents) for query in data.queries})
    assert Report.of(everything, references(everything), k=10).rows["oracle"].means["nDCG@10"] == 1.0


def test_its_halves() -> None:
    development, held_out = demo_set(half="development"), demo_set(half="held-out")
    assert development.queries.keys() | held_out.queries.keys() == demo_set().queries.keys()
    assert not development.queries.keys() & held_out.queries.keys()
    assert len(development.queries) == len(held_out.queries) == 30
    assert {len(found) for found in development.candidates.values()} == {30}
    assert development.labels.keys() == development.queries.keys() == development.candidates.keys()


def test_its_labels_are_what_both_labellers_say() -> None:
    folder = Path(str(evaluation.__file__)).parent / "data" / "demo_v1"
    author, blind, both = (
        read_labels(folder / name) for name in ("qrels_author.tsv", "qrels_blind.tsv", "qrels/test.tsv")
    )
    for query, grades in both.items():
        for document, grade in grades.items():
            said = author.get(query, {}).get(document, 0)
            other = blind.get(query, {}).get(document)
            assert grade == (said if other is None else min(said, other))
    pairs = sum(map(len, both.values()))
    assert pairs == len({(q, d) for each in (author, blind) for q, grades in each.items() for d in grades}) == 1366


def test_a_dataset_shows_no_text() -> None:
    shown = repr(Dataset(queries={"q": "secret question"}, documents={"d": "secret text"}))
    assert "text" not in shown
    assert "1 documents" in shown
