"""Data from where people have it: a data frame, a retriever of LangChain's or LlamaIndex's, LlamaIndex's own datasets.

No framework is imported: what is handed over brings its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anyrerank._core.types import Document
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.dataset import Dataset

if TYPE_CHECKING:
    from pandas import DataFrame

Relevant = Mapping[str, Iterable[str] | Mapping[str, int]]
"""For each question the ids of the documents that answer it, or their grades."""


def from_pandas(
    frame: DataFrame,
    *,
    query: str = "query",
    document: str = "document",
    label: str | None = "label",
    name: str = "data",
) -> Dataset:
    """A frame with a row for each candidate, in the order in which the first stage found them.

    Args:
        frame: Texts of queries and documents; a label that is missing is no label.
        query, document, label: Names of the columns; `None` where nothing is labelled.

    Raises:
        BadRequestError: A column is not there, a label is not a whole number, or a document stands twice under a query.
    """
    columns = [query, document, *([] if label is None else [label])]
    if missing := [each for each in columns if each not in frame.columns]:
        raise BadRequestError(f"the frame has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}")
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    labels: dict[str, dict[str, int]] = {}
    candidates: dict[str, list[str]] = {}
    labelled = [False] * len(frame) if label is None else list(frame[label].notna())
    for place, row in enumerate(frame[columns].itertuples(index=False, name=None)):
        query_id = queries.setdefault(row[0], f"q{len(queries) + 1}")
        document_id = documents.setdefault(row[1], f"d{len(documents) + 1}")
        candidates.setdefault(query_id, []).append(document_id)
        if labelled[place]:
            labels.setdefault(query_id, {})[document_id] = _grade(row[2], place)
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
    id_of: Callable[[Any], str] | None = None,
    name: str = "retriever",
) -> Dataset:
    """What a LangChain retriever finds for labelled questions.

    Args:
        retriever: Anything with LangChain's `invoke`.
        questions: For each question the ids of the documents that answer it, or their grades.
        id_of: The id of a document; by default `document.id`, then `metadata["id"]`.
    """
    found = {question: retriever.invoke(question) for question in questions}
    texts = {
        question: [(_id(each, id_of), each.page_content) for each in documents] for question, documents in found.items()
    }
    return _retrieved(texts, questions, name)


def from_llama_index(dataset: Any, retriever: Any = None, *, name: str = "retriever") -> Dataset:
    """An `EmbeddingQAFinetuneDataset` of LlamaIndex's, with what a retriever finds as candidates.

    Args:
        dataset: With `queries`, `corpus` and `relevant_docs`, as llama-index-finetuning makes it.
        retriever: Anything with LlamaIndex's `retrieve`, over nodes with the ids of the corpus; without one,
            `compare(..., candidates=30)` finds candidates by words.
    """
    labels = {query: dict.fromkeys(answers, 1) for query, answers in dataset.relevant_docs.items()}
    data = Dataset(name=name, queries=dict(dataset.queries), documents=dict(dataset.corpus), labels=labels)
    if retriever is None:
        return data
    found = {query: [each.node.node_id for each in retriever.retrieve(text)] for query, text in data.queries.items()}
    return replace(data, candidates=found)


def _retrieved(found: Mapping[str, list[tuple[str, str]]], questions: Relevant, name: str) -> Dataset:
    queries = {f"q{number}": question for number, question in enumerate(questions, start=1)}
    documents: dict[str, Document] = {}
    for each, text in (pair for pairs in found.values() for pair in pairs):
        if documents.setdefault(each, text) != text:
            raise BadRequestError(f"two documents that the retriever found have the id {each}: give id_of=")
    labels = {query: _grades(questions[question]) for query, question in queries.items()}
    for grades in labels.values():
        for each in grades:
            documents.setdefault(each, "")  # it answers and was not found: no candidate, so its text is not needed
    candidates = {query: [each for each, _ in found[question]] for query, question in queries.items()}
    return Dataset(name=name, queries=queries, documents=documents, labels=labels, candidates=candidates)


def _grades(answers: Iterable[str] | Mapping[str, int]) -> dict[str, int]:
    return dict(answers) if isinstance(answers, Mapping) else dict.fromkeys(answers, 1)


def _id(document: Any, id_of: Callable[[Any], str] | None) -> str:
    found = id_of(document) if id_of is not None else document.id or document.metadata.get("id")
    if not found:
        raise BadRequestError("a document that the retriever found has no id: give id_of=")
    return str(found)


def _grade(value: Any, place: int) -> int:
    if isinstance(value, str) or not math.isfinite(value) or value != int(value):
        raise BadRequestError(f"row {place} of the frame: a label is a whole number")
    return int(value)
