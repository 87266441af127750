"""Datasets from a data frame, a LangChain or LlamaIndex retriever, or a dataset of LlamaIndex.

No framework is imported: the objects that are passed in bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anyrerank._core.types import Document
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.cleaning import whole_grade
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.forms import by_id, check_text, grades_of

if TYPE_CHECKING:
    from pandas import DataFrame

Relevant = Mapping[str, Iterable[str] | Mapping[str, int]]
"""For each question the ids of the relevant documents, or their grades."""


def from_pandas(
    frame: DataFrame,
    *,
    query: str = "query",
    document: str = "document",
    label: str | None = "label",
    name: str = "data",
) -> Dataset:
    """Read a data frame with one row for each candidate, in the order of the first stage.

    Args:
        frame: Texts of queries and documents, and their labels; a missing value is no label.
        query, document, label: Names of the columns. `label=None` if nothing is labelled.
        name: Name of the dataset in reports.

    Raises:
        BadRequestError: A column is missing, a text is not a string, a label is not a whole number, or equal rows have
            different labels.
    """
    if not hasattr(frame, "columns") or not hasattr(frame, "itertuples"):
        raise BadRequestError(f"frame must be a pandas DataFrame, got {type(frame).__name__}")
    columns = [query, document, *([] if label is None else [label])]
    if missing := [each for each in columns if each not in frame.columns]:
        raise BadRequestError(f"the frame has no column {missing[0]!r}, only {', '.join(map(str, frame.columns))}")
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    labels: dict[str, dict[str, int]] = {}
    candidates: dict[str, list[str]] = {}
    labelled = [False] * len(frame) if label is None else list(frame[label].notna())
    for index, row in enumerate(frame[columns].itertuples(index=False, name=None)):
        for column, text in zip((query, document), row[:2], strict=True):
            check_text(text, f"{column} in row {index} of the frame")
        query_id = queries.setdefault(row[0], f"q{len(queries) + 1}")
        document_id = documents.setdefault(row[1], f"d{len(documents) + 1}")
        candidates.setdefault(query_id, []).append(document_id)
        if labelled[index]:
            grade = whole_grade(row[2], f"row {index} of the frame")
            if labels.setdefault(query_id, {}).setdefault(document_id, grade) != grade:
                raise BadRequestError(
                    f"row {index} of the frame has another label than an earlier row of the same texts"
                )
    return Dataset(
        name=name,
        queries={each: text for text, each in queries.items()},
        documents={each: text for text, each in documents.items()},
        labels=labels,
        candidates=candidates,
    )


def from_langchain(
    retriever: Any,
    questions: Relevant,
    *,
    get_id: Callable[[Any], str] | None = None,
    name: str = "retriever",
) -> Dataset:
    """Retrieve candidates for labelled questions with a LangChain retriever.

    Args:
        retriever: Any object with LangChain's `invoke`.
        questions: For each question the ids of the relevant documents, or their grades.
        get_id: Returns the id of a document; by default `document.id`, else `metadata["id"]`.
        name: Name of the dataset in reports.

    Raises:
        BadRequestError: A retrieved document has no id, two different documents have the same id, or `questions` has
            another form.
    """
    grades = {
        question: grades_of(relevant, f"the relevant documents of question {number}")
        for number, (question, relevant) in enumerate(by_id(questions, "questions", "{'a question': ['d1']}").items())
    }
    retrieved = {
        question: [(_document_id(each, get_id), each.page_content) for each in retriever.invoke(question)]
        for question in grades
    }
    return _from_retrieved(retrieved, grades, name)


def from_llama_index(dataset: Any, retriever: Any = None, *, name: str = "retriever") -> Dataset:
    """Read an `EmbeddingQAFinetuneDataset` of LlamaIndex, and retrieve candidates with a retriever.

    Args:
        dataset: Any object with `queries`, `corpus` and `relevant_docs`, such as those of llama-index-finetuning.
        retriever: Any object with LlamaIndex's `retrieve`, over nodes with the ids of the corpus. Without one the
            dataset has no candidates; `compare(..., candidates=30)` finds some by lexical search.
        name: Name of the dataset in reports.
    """
    labels = {query: dict.fromkeys(relevant, 1) for query, relevant in dataset.relevant_docs.items()}
    data = Dataset(name=name, queries=dict(dataset.queries), documents=dict(dataset.corpus), labels=labels)
    if retriever is None:
        return data
    candidates = {
        query: [each.node.node_id for each in retriever.retrieve(text)] for query, text in data.queries.items()
    }
    return replace(data, candidates=candidates)


def _from_retrieved(
    retrieved: Mapping[str, list[tuple[str, str]]], questions: Mapping[str, Mapping[str, int]], name: str
) -> Dataset:
    queries = {f"q{number}": question for number, question in enumerate(questions, start=1)}
    documents: dict[str, Document] = {}
    for each, text in (pair for pairs in retrieved.values() for pair in pairs):
        if documents.setdefault(each, text) != text:
            raise BadRequestError(f"two different retrieved documents have the id {each}: pass get_id=")
    labels = {query: questions[question] for query, question in queries.items()}
    for grades in labels.values():
        for each in grades:
            documents.setdefault(each, "")  # relevant but not retrieved: never a candidate, so its text is not needed
    candidates = {query: [each for each, _ in retrieved[question]] for query, question in queries.items()}
    return Dataset(name=name, queries=queries, documents=documents, labels=labels, candidates=candidates)


def _document_id(document: Any, get_id: Callable[[Any], str] | None) -> str:
    found = get_id(document) if get_id is not None else document.id or document.metadata.get("id")
    if not found:
        raise BadRequestError("a retrieved document has no id: pass get_id=")
    return str(found)
