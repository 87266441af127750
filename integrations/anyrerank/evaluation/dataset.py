"""The data of a comparison: queries, documents, relevance labels, and the candidates of a first stage."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from anyrerank._core.types import Document, public, text_of
from anyrerank.errors import BadRequestError
from anyrerank.providers.local import lexical_scores

V = TypeVar("V")

Labels = Mapping[str, Mapping[str, int]]
"""Relevance grades by query id and document id: 0 for a document that is not relevant, more for one that is."""


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Queries, documents, labels and candidates. Everything refers to everything else by id.

    Attributes:
        name: Name of the dataset in reports.
        queries: Text of each query.
        documents: Each document: a text, or a mapping with a `text`.
        labels: Relevance grades of documents, for the queries that are labelled; may be empty.
        candidates: For each query the ids of the documents that a first stage retrieved, best first; may be empty.

    Raises:
        BadRequestError: There are no queries, a label or a candidate refers to an unknown query or document, or a
            query lists a candidate twice.
    """

    name: str = "data"
    queries: Mapping[str, str]
    documents: Mapping[str, Document] = field(repr=False)
    labels: Labels = field(default_factory=dict, repr=False)
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.queries:
            raise BadRequestError("queries must not be empty")
        _check_ids("labels", self.labels, self)
        _check_ids("candidates", self.candidates, self)
        for query, ids in self.candidates.items():
            if len(set(ids)) < len(ids):
                raise BadRequestError(f"candidates of query {query} contain a document twice")

    def __repr__(self) -> str:
        relevant = sum(map(has_relevant, self.labels.values()))
        return (
            f"Dataset({self.name!r}: {len(self.queries)} queries, {relevant} of them with a relevant document, "
            f"{len(self.documents)} documents, candidates for {len(self.candidates)} queries)"
        )

    def with_lexical_candidates(self, count: int) -> "Dataset":
        """Replace the candidates by the `count` best documents of a lexical search (`local/lexical`) for each query.

        Every document is scored for every query, so this suits up to a few thousand documents.
        """
        ids = list(self.documents)
        texts = [text_of(self.documents[each], None) for each in ids]
        candidates = {}
        for query, text in self.queries.items():
            scores = lexical_scores(text, texts)
            best = sorted(range(len(ids)), key=lambda index: -scores[index])[:count]
            candidates[query] = [ids[index] for index in best]
        return replace(self, candidates=candidates)

    def select(self, queries: Iterable[str]) -> "Dataset":
        """Reduce the dataset to the given query ids, with their labels and candidates."""
        selected = set(queries)
        return replace(
            self,
            queries={query: text for query, text in self.queries.items() if query in selected},
            labels={query: grades for query, grades in self.labels.items() if query in selected},
            candidates={query: ids for query, ids in self.candidates.items() if query in selected},
        )


def has_relevant(grades: Mapping[str, int]) -> bool:
    """Whether any document has a grade above 0."""
    return any(grade > 0 for grade in grades.values())


def _check_ids(name: str, by_query: Mapping[str, Iterable[str]], data: Dataset) -> None:
    for query, documents in by_query.items():
        if query not in data.queries:
            raise BadRequestError(f"{name} refer to an unknown query: {query}")
        unknown = next((document for document in documents if document not in data.documents), None)
        if unknown is not None:
            raise BadRequestError(f"{name} of query {query} refer to an unknown document: {unknown}")


def by_id(rows: Sequence[tuple[str, V]], name: str) -> dict[str, V]:
    """Values by id; a duplicate id is an error."""
    counts = Counter(each for each, _ in rows)
    duplicate = next((each for each, count in counts.items() if count > 1), None)
    if duplicate is not None:
        raise BadRequestError(f"{name} contains the id {duplicate} {counts[duplicate]} times")
    return dict(rows)
