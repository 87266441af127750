"""Converting Haystack documents for the core, and its results to Haystack documents."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace

from haystack import Document as HaystackDocument

from anyrerank._adapters import image_data_url, projected, texts_by, with_image
from anyrerank._core.types import Document, RerankResponse
from anyrerank.errors import BadRequestError

TextFunction = Callable[[HaystackDocument], Document]
"""Returns the text to rank, or a mapping for a provider that ranks more than text."""


def texts_of(
    documents: Sequence[HaystackDocument],
    *,
    text_fn: TextFunction | None,
    rank_fields: Sequence[str] | None,
    images: bool,
) -> list[Document]:
    """The text, fields or image of each document that is ranked.

    Args:
        documents: The retrieved documents; the text of one without content is blank.
        text_fn: Returns what is ranked; the other arguments are then not used.
        rank_fields: Metadata to rank on, instead of the content.
        images: Whether to add an image in `blob` to the content.

    Raises:
        BadRequestError: One of them is not a Haystack document, or `text_fn` failed.
    """
    for index, document in enumerate(documents):
        if not isinstance(document, HaystackDocument):
            raise BadRequestError(f"documents[{index}] must be a Haystack Document, got {type(document).__name__}")
    if text_fn is not None:
        return texts_by(text_fn, documents, "documents")
    if rank_fields:
        return [projected({**document.meta, "text": document.content}, rank_fields) for document in documents]
    if images:
        return [_with_image(document) for document in documents]
    return [document.content or "" for document in documents]


def _with_image(document: HaystackDocument) -> Document:
    text, blob = document.content or "", document.blob
    if blob is None or not (blob.mime_type or "").startswith("image/"):
        return text
    return with_image(text, image_data_url(base64.b64encode(blob.data).decode(), blob.mime_type))


def scored(
    documents: Sequence[HaystackDocument],
    response: RerankResponse,
    *,
    keep_retrieval_score: bool,
    model_key: str | None,
) -> list[HaystackDocument]:
    """Copies of the documents in the order of the results, each with its score."""
    model = {} if model_key is None else {model_key: response.answered_by}
    found, spans = [], response.ranking.spans
    for index, score in response.ranking.pairs():
        document = documents[index]
        meta = {**document.meta, **model}
        if keep_retrieval_score and document.score is not None:
            meta.setdefault("retrieval_score", document.score)
        if index in spans:
            meta["relevant_spans"] = spans[index]
        if response.degraded:
            meta["degraded"] = True
        elif document.score is None and meta.get("degraded") is True:
            del meta["degraded"]  # of an earlier rerank, which set no score either
        found.append(replace(document, score=score, meta=meta))
    return found
