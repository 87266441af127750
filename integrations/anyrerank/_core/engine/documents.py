"""Checking the query and the documents of a call, and which documents are sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from anyrerank._core.types import Document, text_of
from anyrerank.errors import BadRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The documents to send, and which of the caller's documents each one stands for.

    Attributes:
        documents: Not blank; each text once when identical ones were merged.
        positions: For each of `documents` the indexes in the caller's list that get its score; `None` when every
            document is sent for itself.
        blank: Indexes of the documents that are not sent.
    """

    documents: Sequence[Document]
    positions: Sequence[Sequence[int]] | None
    blank: Sequence[int]

    def index_of(self, index: int) -> int:
        """The (first) index in the caller's list of `documents[index]`."""
        return index if self.positions is None else self.positions[index][0]

    def spread(self, scores: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
        """`scores` of `documents` as scores of the caller's documents."""
        if self.positions is None:
            return scores
        return [(position, score) for index, score in scores for position in self.positions[index]]


NO_CANDIDATES = Candidates(documents=(), positions=None, blank=())


def candidates(
    documents: Sequence[Document], blank: Sequence[int], *, key: Callable[[Document], str] | None
) -> Candidates:
    """Leave out the blank documents and, with a `key`, merge those that have the same one."""
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
    """What `candidates` merges documents by."""
    return partial(identity, rank_fields=rank_fields, whole=whole)


def identity(document: Document, rank_fields: Sequence[str] | None, *, whole: bool) -> str:
    """What makes two documents identical: their text, or `rank_fields`, and their image.

    Args:
        whole: Whether a model may see the whole mapping, so that all of it counts.
    """
    if isinstance(document, str):
        return document
    if whole and set(document) != {"text"}:
        return repr(sorted(document.items(), key=str))
    text = text_of(document, rank_fields) if rank_fields or "text" in document else ""
    return text if document.get("image") is None else f"{document['image']}\0{text}"


def checked_query(query: object) -> str:
    """The query, if it is a string that is not blank.

    Raises:
        BadRequestError: It is not.
    """
    if not isinstance(query, str):
        raise BadRequestError(f"query must be a string, got {type(query).__name__}")
    if not query or query.isspace():
        raise BadRequestError("query must not be blank")
    return query


def checked_documents(documents: object) -> Sequence[Document]:
    """The documents as a sequence; `blanks` checks each of them.

    Raises:
        BadRequestError: They are not a collection of documents.
    """
    if isinstance(documents, list | tuple):
        return documents
    if isinstance(documents, str | bytes | Mapping | set | frozenset) or not hasattr(documents, "__iter__"):
        hint = ": put it into a list" if isinstance(documents, str | Mapping) else ""
        raise BadRequestError(
            f"documents must be a sequence of strings or mappings, got {type(documents).__name__}{hint}"
        )
    return list(documents)


def blanks(documents: Sequence[Document], rank_fields: Sequence[str] | None, *, images: bool) -> list[int]:
    """Indexes of the documents that have nothing to rank.

    Args:
        images: Whether the provider can rank an `image` without text.

    Raises:
        BadRequestError: A document is neither a string nor a mapping, or a mapping without usable text.
    """
    if set(map(type, documents)) == {str} and all(documents) and not any(map(str.isspace, documents)):  # type: ignore[arg-type]
        return []
    return [index for index, document in enumerate(documents) if _is_blank(document, index, rank_fields, images)]


def _is_blank(document: object, index: int, rank_fields: Sequence[str] | None, images: bool) -> bool:
    if isinstance(document, str):
        return not document.strip()
    if not isinstance(document, Mapping):
        raise BadRequestError(
            f"documents[{index}] must be a string or a mapping with a 'text', got {type(document).__name__} (for "
            "LangChain and LlamaIndex objects use anyrerank.langchain and anyrerank.llama_index)"
        )
    image = document.get("image")
    if images and isinstance(image, str) and image.strip():
        return False
    if rank_fields:
        return not any(str(document[name]).strip() for name in rank_fields if document.get(name) is not None)
    text = document.get("text")
    if not isinstance(text, str):
        what = "an 'image', which this provider cannot rank, but no" if "image" in document else "no"
        raise BadRequestError(f"documents[{index}] has {what} usable 'text': add one, or pass rank_fields")
    return not text or text.isspace()
