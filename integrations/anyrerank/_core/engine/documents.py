"""Checks of the query and the documents of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyrerank._core.types import Document
from anyrerank.errors import BadRequestError


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
    """Whether all documents are strings that are not blank: the common case, which `blanks` need not check."""
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
