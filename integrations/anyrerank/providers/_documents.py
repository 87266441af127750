"""What a model reads of a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from anyrerank.schema import Document, RerankRequest


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
