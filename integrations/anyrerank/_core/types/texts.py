"""The text of a document that a model reads, and a rough count of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from anyrerank._core.types.documents import Document
from anyrerank._core.types.request import RerankRequest

BYTES_PER_TOKEN = 3
"""On the low side for most languages."""


def text_of(document: Document, rank_fields: Sequence[str] | None) -> str:
    """What a text model reads of a document: the string, its `text`, or a `name: value` line for each rank field."""
    if isinstance(document, str):
        return document
    if rank_fields:
        return "".join(f"{name}: {document[name]}\n" for name in rank_fields if document.get(name) is not None)
    text: str = document["text"]
    return text


def texts_of(request: RerankRequest) -> Sequence[str]:
    """`text_of` every document; a list of strings is returned uncopied."""
    if set(map(type, request.documents)) == {str}:
        return cast("Sequence[str]", request.documents)
    return [text_of(document, request.rank_fields) for document in request.documents]


def tokens_in(text: str) -> int:
    """A rough count of tokens, on the high side: a third of the bytes, where English has about a quarter."""
    return len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1


def tokens_to_read(query: str, documents: Sequence[Document], rank_fields: Sequence[str] | None = None) -> int:
    """A rough count of the tokens of all (query, document) pairs; images are not counted."""
    texts = (text_of(each, rank_fields) for each in documents if isinstance(each, str) or rank_fields or "text" in each)
    return len(documents) * tokens_in(query) + sum(map(tokens_in, texts))
