"""Warnings of a comparison: thousands of calls may fail in the same way, and the report counts them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_log = logging.getLogger("anyrerank")
_seen: ContextVar[set[tuple[object, ...]] | None] = ContextVar("seen", default=None)
"""The kinds of warnings that the calls of this context have logged."""


@contextmanager
def first_of_each_kind() -> Iterator[None]:
    """Log only the first warning of each kind about the calls in this context, and in copies of it."""
    token = _seen.set(set())
    try:
        yield
    finally:
        _seen.reset(token)


def _is_first(record: logging.LogRecord) -> bool:
    """Whether a record is no warning, comes from other code, or is the first of its kind."""
    seen = _seen.get()
    if seen is None or record.levelno < logging.WARNING:
        return True
    details = getattr(record, "anyrerank", {})
    kind = (record.msg, details.get("provider"), details.get("model"), details.get("error"), details.get("status"))
    if kind in seen:
        return False
    seen.add(kind)
    return True


_log.addFilter(_is_first)
