"""Converting LangChain documents for the core, and its results to LangChain documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document as LangChainDocument

from anyrerank._adapters import image_data_url, is_image, projected, texts_by, with_image
from anyrerank._core.types import Document, RerankResponse
from anyrerank.errors import BadRequestError

TextFunction = Callable[[LangChainDocument], Document]
"""Returns the text to rank, or a mapping for a provider that ranks more than text."""


def texts_of(
    documents: Sequence[LangChainDocument],
    *,
    text_fn: TextFunction | None,
    rank_fields: Sequence[str] | None,
    images: bool,
) -> list[Document]:
    """The text, fields or image of each document that is ranked.

    Args:
        documents: The retrieved documents.
        text_fn: Returns what is ranked; the other arguments are then not used.
        rank_fields: Metadata to rank on, instead of the content.
        images: Whether to add the image in `metadata["image"]` to the content.

    Raises:
        BadRequestError: One of them is not a LangChain document, or `text_fn` failed.
    """
    for index, document in enumerate(documents):
        if not isinstance(document, LangChainDocument):
            raise BadRequestError(f"documents[{index}] must be a LangChain Document, got {type(document).__name__}")
        kind = type(document.metadata)
        if kind is not dict and not isinstance(_metadata(document), Mapping):  # the first is 10 times as fast
            raise BadRequestError(f"the metadata of documents[{index}] must be a mapping, got {kind.__name__}")
    if text_fn is not None:
        return texts_by(text_fn, documents, "documents")
    if rank_fields:
        return [projected({**_metadata(document), **_content(document)}, rank_fields) for document in documents]
    if images:
        return [_with_image(document) for document in documents]
    return [document.page_content for document in documents]


def _with_image(document: LangChainDocument) -> Document:
    image = _metadata(document).get("image")
    if not is_image(image):
        return document.page_content
    return with_image(document.page_content, image_data_url(image, None))


def scored(
    documents: Sequence[LangChainDocument],
    response: RerankResponse,
    *,
    key: str,
    keep_retrieval_score: bool,
    model_key: str | None,
) -> list[LangChainDocument]:
    """Copies of the documents in the order of the results, each with its score in the metadata."""
    model = {} if model_key is None else {model_key: response.answered_by}
    found, spans = [], response.ranking.spans
    for index, score in response.ranking.pairs():
        document = documents[index]
        before = _metadata(document)
        metadata = {**before, **model, key: score}
        if keep_retrieval_score and key in before:
            metadata.setdefault("retrieval_score", before[key])
        if index in spans:
            metadata["relevant_spans"] = spans[index]
        if response.degraded:
            metadata["degraded"] = True
        elif "degraded" in metadata and _was_degraded(document, key):
            del metadata["degraded"]
        found.append(document.model_copy(update={"metadata": metadata}))
    return found


def _metadata(document: LangChainDocument) -> dict[str, Any]:
    """The metadata; pydantic does not check `None` that is assigned later."""
    return document.metadata or {}


def _was_degraded(document: LangChainDocument, key: str) -> bool:
    """Whether an earlier rerank set `degraded`: then there is no score. Otherwise it is your own."""
    return document.metadata["degraded"] is True and document.metadata.get(key, 0.0) is None


def _content(document: LangChainDocument) -> dict[str, str]:
    """The content under both names that people give it among `rank_fields`."""
    return {"text": document.page_content, "page_content": document.page_content}
