"""Checks of query and documents, and the choice of the documents that are sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from anyrerank._core.types import Document, Spans, text_of
from anyrerank.errors import BadRequestError


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


def checked_query(query: object) -> str:
    """The query.

    Raises:
        BadRequestError: It is not a string, or is blank.
    """
    if not isinstance(query, str):
        raise BadRequestError(f"query must be a string, got {type(query).__name__}")
    if not query or query.isspace():
        raise BadRequestError("query must not be blank")
    return query


def checked_documents(documents: object) -> Sequence[Document]:
    """The documents as a sequence; `blanks` checks each of them.

    Raises:
        BadRequestError: They are not an ordered collection.
    """
    if isinstance(documents, list | tuple):
        return documents
    if isinstance(documents, str | bytes | Mapping | set | frozenset) or not hasattr(documents, "__iter__"):
        hint = ": put it into a list" if isinstance(documents, str | Mapping) else ""
        raise BadRequestError(
            f"documents must be a sequence of strings or mappings, got {type(documents).__name__}{hint}"
        )
    return list(documents)


def all_text(documents: Sequence[object]) -> bool:
    """Whether all documents are strings that are not blank: the usual case, which needs no closer look."""
    try:
        return all(documents) and not any(map(str.isspace, documents))  # type: ignore[arg-type]
    except TypeError:  # one is not a string
        return False


def blanks(documents: Sequence[Document], rank_fields: Sequence[str] | None, *, images: bool) -> list[int]:
    """Indexes of the blank documents.

    Args:
        images: Whether a document without text can be ranked by its `image`, or by the parts of its `content`.

    Raises:
        BadRequestError: A document is neither a string nor a mapping with one of these.
    """
    return [index for index, document in enumerate(documents) if _is_blank(document, index, rank_fields, images)]


_NO_TEXT = object()


def _is_blank(document: object, index: int, rank_fields: Sequence[str] | None, images: bool) -> bool:
    if isinstance(document, str):
        return not document.strip()
    if not isinstance(document, Mapping):
        raise BadRequestError(
            f"documents[{index}] must be a string or a mapping with a 'text', got {type(document).__name__} (for "
            "LangChain and LlamaIndex objects use anyrerank.langchain and anyrerank.llama_index)"
        )
    image = document.get("image")
    if images and ((isinstance(image, str) and image.strip()) or _has_parts(document)):
        return False
    if rank_fields:
        return not any(str(document[name]).strip() for name in rank_fields if document.get(name) is not None)
    text = document.get("text", _NO_TEXT)
    if text is None and image is None:
        return True
    if not isinstance(text, str):
        what = "an 'image', which this provider cannot rank, but no" if "image" in document else "no"
        raise BadRequestError(f"documents[{index}] has {what} 'text' string: add one, or pass rank_fields")
    return not text or text.isspace()


def _has_parts(document: Mapping[str, object]) -> bool:
    """Whether its `content` is a list of content parts, as vLLM takes them."""
    content = document.get("content")
    return isinstance(content, list) and bool(content)
