"""Helpers to convert the documents of a framework."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from anyrerank._core.types import Document
from anyrerank.errors import BadRequestError, RerankError

T = TypeVar("T")


def as_list(items: Iterable[T]) -> list[T]:
    """`items` as a list, which can be read more than once.

    Raises:
        BadRequestError: They are not a collection.
    """
    if not isinstance(items, Iterable):
        raise BadRequestError(f"what is reranked must be a list, got {type(items).__name__}")
    return items if isinstance(items, list) else list(items)


def projected(document: Mapping[str, Any], rank_fields: Sequence[str]) -> dict[str, str]:
    """The `rank_fields` of a document as strings, without those that are missing or `None`."""
    return {name: str(document[name]) for name in rank_fields if document.get(name) is not None}


def texts_by(text_fn: Callable[[T], Document], items: Sequence[T], name: str) -> list[Document]:
    """What `text_fn` returns for each item.

    Args:
        text_fn: The user's function.
        items: What is reranked.
        name: What the items are called in errors.

    Raises:
        BadRequestError: The function failed, or returned something else than a text or a mapping. The error does not
            repeat the message of the function's own error, which may quote a text.
    """
    return [_text_by(text_fn, item, f"{name}[{index}]") for index, item in enumerate(items)]


def _text_by(text_fn: Callable[[T], Document], item: T, where: str) -> Document:
    try:
        found: Any = text_fn(item)
    except RerankError:
        raise
    except Exception as error:  # noqa: BLE001  a user's function may raise anything
        raise BadRequestError(f"text_fn failed with {type(error).__name__} for {where}; nothing was sent") from None
    if inspect.iscoroutine(found):
        found.close()
        raise BadRequestError("text_fn must not be async; nothing was sent")
    if not isinstance(found, str | Mapping):
        raise BadRequestError(
            f"text_fn must return a string or a mapping, got {type(found).__name__} for {where}; nothing was sent"
        )
    return found
