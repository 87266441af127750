"""Datasets from data frames, retrievers, and LlamaIndex."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import BaseModel

from anyrerank import BadRequestError
from anyrerank.evaluation import compare, from_langchain, from_llama_index, from_pandas

RETRIEVER: Any = RunnableLambda(lambda question: [Document("Venus", id="v"), Document("Mars", metadata={"id": "m"})])


def test_from_pandas_reads_texts_labels_and_candidates() -> None:
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
    for dtype in ("Int64", "object"):
        assert from_pandas(frame.astype({"label": dtype})).labels == data.labels


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"query": ["a"], "text": ["b"]}, "no column 'document', only query, text"),
        ({"query": ["a"], "document": ["b"], "label": [0.5]}, "row 0 of the frame.* must be a whole number"),
        ({"query": ["a"], "document": ["b"], "label": [float("inf")]}, "row 0 of the frame.* must be a whole number"),
        ({"query": ["a"], "document": ["b"], "label": ["good"]}, "row 0 of the frame.* must be a whole number"),
        ({"query": ["a"] * 2, "document": ["b"] * 2, "label": [1, 0]}, "row 1 of the frame has another label"),
        (
            {"query": ["a"], "document": [["b"]], "label": [1]},
            "document in row 0 of the frame must be .* list",
        ),
        ({"query": [5], "document": ["b"], "label": [1]}, "query in row 0 of the frame must be a string, got int"),
    ],
)
def test_from_pandas_with_a_malformed_frame_raises(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        from_pandas(pd.DataFrame(columns))


def test_from_pandas_refuses_another_kind_of_table() -> None:
    with pytest.raises(BadRequestError, match="frame must be a pandas DataFrame, got list"):
        from_pandas([{"query": "a"}])


def test_from_pandas_with_missing_texts_has_blank_documents() -> None:
    columns = {"query": ["a", "a"], "document": ["b", None], "label": [1, 0]}
    for dtype in ("object", "string"):
        frame = pd.DataFrame(columns).astype({"document": dtype})
        with pytest.warns(UserWarning, match="1 texts of documents"):
            assert from_pandas(frame).documents == {"d1": "b", "d2": ""}


def test_from_pandas_with_a_row_twice_and_grades_as_text_reads_them() -> None:
    frame = pd.DataFrame({"query": ["a"] * 3, "document": ["b", "c", "b"], "label": ["1.0", "0", "1"]})
    with pytest.warns(UserWarning, match="1 candidates found twice"):
        data = from_pandas(frame)
    assert (data.candidates, data.labels) == ({"q1": ["d1", "d2"]}, {"q1": {"d1": 1, "d2": 0}})


def test_from_langchain_with_a_chunk_found_twice_keeps_the_first() -> None:
    twice: Any = RunnableLambda(lambda question: [Document(each, id=each) for each in ("v", "m", "v")])
    with pytest.warns(UserWarning, match="1 candidates found twice"):
        assert from_langchain(twice, {"red?": {"m": 2}}).candidates == {"q1": ["v", "m"]}


def test_from_langchain_reads_candidates_and_labels_by_id() -> None:
    data = from_langchain(RETRIEVER, {"red?": {"m": 3}, "far?": ["p"]})
    assert data.candidates == {"q1": ["v", "m"], "q2": ["v", "m"]}
    assert data.labels == {"q1": {"m": 3}, "q2": {"p": 1}}


def test_from_langchain_with_a_relevant_document_that_was_not_retrieved_counts_it() -> None:
    data = from_langchain(RETRIEVER, {"red?": {"m": 3}, "far?": ["p"]})
    report = compare({"lexical": "local/lexical"}, data, cache=None, announce=lambda line: None)
    assert report.scores["oracle"]["nDCG@10"] == {"q1": 1.0, "q2": 0.0}


def test_from_langchain_with_get_id_uses_it() -> None:
    data = from_langchain(RETRIEVER, {"red?": ["Mars"]}, get_id=lambda document: str(document.page_content))
    assert data.candidates == {"q1": ["Venus", "Mars"]}


def test_from_langchain_with_missing_or_ambiguous_ids_raises() -> None:
    same_id: Any = RunnableLambda(lambda question: [Document(question, id="same")])
    with pytest.raises(BadRequestError, match="have the id same: pass get_id="):
        from_langchain(same_id, {"red?": ["m"], "far?": ["p"]})
    no_id: Any = RunnableLambda(lambda question: [Document("x")])
    with pytest.raises(BadRequestError, match="no id: pass get_id="):
        from_langchain(no_id, {"red?": ["m"]})


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        (["red?"], "questions must be a mapping such as .*, got list"),
        ({"red?": "m"}, "the relevant documents of question 0 must be a list of ids, or grades by id, got str"),
        ({"red?": None}, "the relevant documents of question 0 must be a list .*, got NoneType"),
        ({"red?": [7]}, "the ids in the relevant documents of question 0 must be strings, got int"),
    ],
)
def test_from_langchain_with_questions_of_another_form_retrieves_nothing(questions: Any, message: str) -> None:
    asked: list[str] = []
    with pytest.raises(BadRequestError, match=message):
        from_langchain(RunnableLambda(asked.append), questions)
    assert asked == []


class FinetuneDataset(BaseModel):
    """The fields of `EmbeddingQAFinetuneDataset`, which is in a separate package (llama-index-finetuning)."""

    queries: dict[str, str]
    corpus: dict[str, str]
    relevant_docs: dict[str, list[str]]


class NodeRetriever:
    """The one method of a LlamaIndex retriever that is used."""

    def retrieve(self, query: str) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(id_=each, text=each)) for each in ("n2", "n1")]


def test_from_llama_index_reads_labels_and_retrieves_candidates() -> None:
    dataset = FinetuneDataset(queries={"q": "red?"}, corpus={"n1": "Mars", "n2": "Venus"}, relevant_docs={"q": ["n1"]})
    data = from_llama_index(dataset, NodeRetriever())
    assert (data.labels, data.candidates) == ({"q": {"n1": 1}}, {"q": ["n2", "n1"]})
    assert from_llama_index(dataset).candidates == {}
