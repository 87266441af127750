"""What rerankers are compared on: queries, documents, labels, and the candidates of a first stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from anyrerank._core.types import Document, text_of
from anyrerank.errors import BadRequestError
from anyrerank.providers.local import lexical_scores

V = TypeVar("V")

Labels = Mapping[str, Mapping[str, int]]
"""For each query the grade of each labelled document: 0 for one that does not answer, more for one that does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Queries with their candidates and labels, all by id.

    Attributes:
        name: For reports.
        queries: Text of each query.
        documents: Text (or mapping with a `text`) of each document.
        labels: Grades of documents, for as many queries as are labelled; may be empty.
        candidates: For each query the documents that a first stage found, best first; may be empty.

    Raises:
        BadRequestError: There is no query, or a label or a candidate names a query or a document that is not there, or
            a document is a candidate twice.
    """

    name: str = "data"
    queries: Mapping[str, str]
    documents: Mapping[str, Document] = field(repr=False)
    labels: Labels = field(default_factory=dict, repr=False)
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.queries:
            raise BadRequestError("there is no query to compare on")
        _check_ids("labels", self.labels, self)
        _check_ids("candidates", self.candidates, self)
        for query, found in self.candidates.items():
            if len(set(found)) < len(found):
                raise BadRequestError(f"candidates: a document is there twice for the query {query}")

    def __repr__(self) -> str:
        graded = sum(1 for grades in self.labels.values() if any(grade > 0 for grade in grades.values()))
        return (
            f"Dataset({self.name!r}: {len(self.queries)} queries, {graded} with an answer, {len(self.documents)} "
            f"documents, candidates for {len(self.candidates)})"
        )

    def retrieved(self, count: int) -> Dataset:
        """This data with the `count` best documents of each query by `local/lexical` as its candidates.

        It scores every document for every query, so it is for some thousands of documents.
        """
        ids = list(self.documents)
        texts = [text_of(self.documents[each], None) for each in ids]
        found = {}
        for query, text in self.queries.items():
            scores = lexical_scores(text, texts)
            best = sorted(range(len(ids)), key=lambda place: -scores[place])[:count]
            found[query] = [ids[place] for place in best]
        return replace(self, candidates=found)

    def only(self, queries: Iterable[str]) -> Dataset:
        """This data with some of its queries alone."""
        wanted = set(queries)
        return replace(
            self,
            queries={query: text for query, text in self.queries.items() if query in wanted},
            labels={query: grades for query, grades in self.labels.items() if query in wanted},
            candidates={query: found for query, found in self.candidates.items() if query in wanted},
        )


def _check_ids(what: str, given: Mapping[str, Iterable[str]], data: Dataset) -> None:
    for query, documents in given.items():
        if query not in data.queries:
            raise BadRequestError(f"{what}: there is no query {query}")
        missing = [document for document in documents if document not in data.documents]
        if missing:
            raise BadRequestError(f"{what} of the query {query}: there is no document {missing[0]}")


def by_id(rows: Sequence[tuple[str, V]], what: str) -> dict[str, V]:
    """Values by their ids; an id that is there twice is an error."""
    counts = Counter(name for name, _ in rows)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise BadRequestError(f"{what}: the id {twice[0]} is there {counts[twice[0]]} times")
    return dict(rows)
