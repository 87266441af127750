"""Truncating documents to `max_tokens_per_doc`, for providers that have no such option."""

from __future__ import annotations

from collections.abc import Sequence

from anyrerank._core.types import BYTES_PER_TOKEN, Document

LOCAL_OPTION = "max_tokens_per_doc"
"""The option that works with every provider, because it can be applied here."""


def truncated(documents: Sequence[Document], rank_fields: Sequence[str] | None, tokens: int) -> list[Document]:
    """`documents`, the long ones as shorter copies. It needs no tokenizer: a token is taken to have 3 bytes.

    Args:
        rank_fields: The fields that share the tokens of a mapping, in order; by default its `text`.
        tokens: Maximum number of tokens of a document.
    """
    names = rank_fields or ("text",)
    return [_cut(document, names, tokens * BYTES_PER_TOKEN) for document in documents]


def _cut(document: Document, names: Sequence[str], size: int) -> Document:
    if isinstance(document, str):
        return _beginning(document, size)
    shorter: dict[str, str] = {}
    for name in names:
        if (value := document.get(name)) is not None:
            text = str(value)
            beginning = _beginning(text, size)
            size -= len(_encoded(beginning))
            if beginning != text:
                shorter[name] = beginning
    return {**document, **shorter} if shorter else document


def _beginning(text: str, size: int) -> str:
    """The whole characters in the first `size` bytes, or after leading blanks: a blank document is not ranked."""
    if len(text) * 4 <= size or len(_encoded(text)) <= size:
        return text
    if size <= 0:
        return ""
    if found := _whole_characters(text, size).rstrip():
        return found
    rest = text.lstrip()
    return _whole_characters(rest, size) or rest[:1]


def _whole_characters(text: str, size: int) -> str:
    encoded = _encoded(text)
    while size and size < len(encoded) and encoded[size] & 0xC0 == 0x80:  # inside a character
        size -= 1
    return encoded[:size].decode("utf-8", "surrogatepass")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
