"""The data of a comparison: queries, documents, relevance labels, and the candidates of a first stage."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from anyrerank._core.types import Document, public, text_of
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.cleaning import (
    known_candidates,
    known_documents,
    known_labels,
    known_queries,
    one_warning,
)
from anyrerank.evaluation.forms import by_id
from anyrerank.providers.local import lexical_scores

Labels = Mapping[str, Mapping[str, int]]
"""Relevance grades by query id and document id: 0 for a document that is not relevant, more for one that is."""

LEXICAL_SEARCH = "a lexical search over the documents (local/lexical)"


class FoundCandidates(dict[str, Sequence[str]]):
    """Candidates by query that this package found itself.

    Attributes:
        source: How they were found, for reports.
    """

    def __init__(self, candidates: Mapping[str, Sequence[str]], source: str) -> None:
        super().__init__(candidates)
        self.source = source

    def __reduce__(self) -> tuple[type["FoundCandidates"], tuple[dict[str, Sequence[str]], str]]:
        return type(self), (dict(self), self.source)


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Queries, documents, labels and candidates. Everything refers to everything else by id.

    Labels and candidates that refer to unknown queries or documents are left out, and so are queries without a text,
    and a candidate that is listed again for the same query. A document whose text is missing is blank. One warning
    counts them.

    Attributes:
        name: Name of the dataset in reports.
        queries: Text of each query.
        documents: Each document: a text, or a mapping with a `text`.
        labels: Relevance grades of documents, for the queries that are labelled; may be empty. A list of ids, in place
            of the grades of a query, stands for the grade 1 of each.
        candidates: For each query the ids of the documents that a first stage retrieved, best first; may be empty.

    Raises:
        BadRequestError: There are no queries, an id is not a string, a document is not a text, a grade is not a whole
            number, or none of the labels or of the candidates refers to a known query and document.
    """

    name: str = "data"
    queries: Mapping[str, str]
    documents: Mapping[str, Document] = field(repr=False)
    labels: Labels = field(default_factory=dict, repr=False)
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        with one_warning(self.name) as skipped:
            queries = known_queries(by_id(self.queries, "queries", "{'q1': 'a question'}"), skipped)
            documents = known_documents(by_id(self.documents, "documents", "{'d1': 'a text'}"), skipped)
            if not queries:
                raise BadRequestError("queries must not be empty")
            given = by_id(self.labels, "labels", "{'q1': {'d1': 1}}")
            labels = known_labels(given, queries, documents, skipped)
            ranked = by_id(self.candidates, "candidates", "{'q1': ['d1', 'd2']}")
            candidates = known_candidates(ranked, queries, documents, skipped)
        object.__setattr__(self, "queries", queries)
        object.__setattr__(self, "documents", documents)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "candidates", _same_source(self.candidates, candidates))

    @property
    def first_stage(self) -> str | None:
        """How the candidates were found, if this package found them; else `None`."""
        return self.candidates.source if isinstance(self.candidates, FoundCandidates) else None

    def __repr__(self) -> str:
        relevant = sum(map(has_relevant, self.labels.values()))
        return (
            f"Dataset({self.name!r}: {len(self.queries)} queries, {relevant} of them with a relevant document, "
            f"{len(self.documents)} documents, candidates for {len(self.candidates)} queries)"
        )

    def with_lexical_candidates(self, count: int, *, include_self: bool = False) -> "Dataset":
        """Replace the candidates by the `count` best documents of a lexical search (`local/lexical`) for each query.

        Every document is scored for every query, so this suits up to a few thousand documents.

        Args:
            count: Number of candidates for each query.
            include_self: Whether a query's own document, with the same id or the same text, may be a candidate. In
                some datasets (ArguAna, Quora) queries are documents too, and never their own answer. A document that
                is labelled as relevant is always included.
        """
        ids = list(self.documents)
        texts = [text_of(self.documents[each], None) for each in ids]
        plain = [_plain(text) for text in texts]
        candidates = {}
        for query, text in self.queries.items():
            scores = lexical_scores(text, texts)
            left_out = set() if include_self else self._own_documents(query, ids, plain)
            best = [
                index for index in sorted(range(len(ids)), key=lambda index: -scores[index]) if index not in left_out
            ]
            candidates[query] = [ids[index] for index in best[:count]]
        return replace(self, candidates=FoundCandidates(candidates, LEXICAL_SEARCH))

    def _own_documents(self, query: str, ids: Sequence[str], texts: Sequence[tuple[str, str]]) -> set[int]:
        """Indexes of the documents that are the query itself and are not labelled as relevant."""
        grades, (text, _) = self.labels.get(query, {}), _plain(self.queries[query])
        return {
            index
            for index, (document, same) in enumerate(zip(ids, texts, strict=True))
            if (document == query or text in same) and grades.get(document, 0) <= 0
        }

    def select(self, queries: Iterable[str]) -> "Dataset":
        """Reduce the dataset to the given query ids, with their labels and candidates."""
        selected = set(queries)
        return replace(
            self,
            queries={query: text for query, text in self.queries.items() if query in selected},
            labels={query: grades for query, grades in self.labels.items() if query in selected},
            candidates=_same_source(
                self.candidates, {query: ids for query, ids in self.candidates.items() if query in selected}
            ),
        )


def has_relevant(grades: Mapping[str, int]) -> bool:
    """Whether any document has a grade above 0."""
    return any(grade > 0 for grade in grades.values())


def _same_source(
    original: Mapping[str, Sequence[str]], changed: Mapping[str, Sequence[str]]
) -> Mapping[str, Sequence[str]]:
    return FoundCandidates(changed, original.source) if isinstance(original, FoundCandidates) else changed


def _plain(text: str) -> tuple[str, str]:
    """The text without differences in white space and case, with and without its first line, which may be a title."""
    words = " ".join(text.split()).casefold()
    return words, " ".join(text.partition("\n")[2].split()).casefold() or words
