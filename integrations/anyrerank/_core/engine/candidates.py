"""The candidates: the documents of a call that are sent to a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from anyrerank._core.types import Document, Spans, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The documents to send, and their indexes in the call.

    Attributes:
        documents: Not blank; without duplicates if these were merged.
        positions: For each of `documents`, the indexes in the call that get its score; `None` if all are the same.
        blank: Indexes in the call of the documents that are not sent.
    """

    documents: Sequence[Document]
    positions: Sequence[Sequence[int]] | None
    blank: Sequence[int]

    def index_of(self, index: int) -> int:
        """The (first) index in the call of `documents[index]`."""
        return index if self.positions is None else self.positions[index][0]

    def spread(self, scores: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
        """`scores` of `documents` as scores of the documents of the call."""
        if self.positions is None:
            return scores
        return [(position, score) for index, score in scores for position in self.positions[index]]

    def spread_spans(self, spans: Spans) -> Spans:
        """`spans` of `documents` as those of the documents of the call."""
        if self.positions is None:
            return spans
        return {position: found for index, found in spans.items() for position in self.positions[index]}


NO_CANDIDATES = Candidates(documents=(), positions=None, blank=())


def candidates(
    documents: Sequence[Document], blank: Sequence[int], *, key: Callable[[Document], str] | None
) -> Candidates:
    """Leave out the blank documents; with a `key`, merge documents with the same key."""
    if key is None and not blank:
        return Candidates(documents=documents, positions=None, blank=blank)
    left_out = frozenset(blank)
    groups: dict[object, list[int]] = {}
    for index, document in enumerate(documents):
        if index not in left_out:
            groups.setdefault(index if key is None else key(document), []).append(index)
    positions = list(groups.values())
    return Candidates(documents=[documents[group[0]] for group in positions], positions=positions, blank=blank)


def identity_key(rank_fields: Sequence[str] | None, *, whole: bool) -> Callable[[Document], str]:
    """The key by which `candidates` merges documents, see `identity`."""
    return partial(identity, rank_fields=rank_fields, whole=whole)


def identity(document: Document, rank_fields: Sequence[str] | None, *, whole: bool) -> str:
    """A string that is equal for identical documents: those with the same text, or `rank_fields`, image and parts.

    Args:
        whole: Whether the model may read all fields of a mapping, so that all of them are compared.
    """
    if isinstance(document, str):
        return document
    if whole and set(document) != {"text"}:
        return repr(sorted(document.items(), key=str))
    text = text_of(document, rank_fields) if rank_fields or "text" in document else ""
    beside = [document[name] for name in ("image", "content") if document.get(name) is not None]
    return "\0".join([*map(str, beside), text])
