"""The text that a model reads of a document, and about how many tokens it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from anyrerank._core.types.documents import Document
from anyrerank._core.types.request import RerankRequest


def text_of(document: Document, rank_fields: Sequence[str] | None) -> str:
    """What a string-only model reads of a document: the string, its `text`, or `key: value` lines of `rank_fields`."""
    if isinstance(document, str):
        return document
    if rank_fields:
        return "".join(f"{name}: {document[name]}\n" for name in rank_fields if document.get(name) is not None)
    text: str = document["text"]
    return text


def texts_of(request: RerankRequest) -> Sequence[str]:
    """`text_of` every document; strings alone are handed on without a copy."""
    if set(map(type, request.documents)) == {str}:
        return cast("Sequence[str]", request.documents)
    return [text_of(document, request.rank_fields) for document in request.documents]


def tokens_in(text: str) -> int:
    """About how many tokens a text has: a third of its bytes, where English prose has a quarter."""
    return len(text.encode("utf-8", "replace")) // 3 + 1


def tokens_to_read(query: str, documents: Sequence[Document], rank_fields: Sequence[str] | None = None) -> int:
    """About how many tokens a model reads that looks at each document beside the query; images are not counted."""
    texts = (text_of(each, rank_fields) for each in documents if isinstance(each, str) or rank_fields or "text" in each)
    return len(documents) * tokens_in(query) + sum(map(tokens_in, texts))
