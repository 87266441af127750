"""The trace that a call belongs to, for the servers that it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from anyrerank._core.runtime.messages import HttpRequest

_parent: ContextVar[str | None] = ContextVar("anyrerank_traceparent", default=None)


@contextmanager
def tracing(traceparent: str | None) -> Iterator[None]:
    """Send a `traceparent` with every request inside the block, unless it has one of its own.

    Args:
        traceparent: As https://www.w3.org/TR/trace-context writes it.
    """
    token = _parent.set(traceparent)
    try:
        yield
    finally:
        _parent.reset(token)


def traced(request: HttpRequest) -> HttpRequest:
    """A request with the `traceparent` of its call."""
    parent = _parent.get()
    if parent is None or "traceparent" in request.headers:
        return request
    return replace(request, headers={**request.headers, "traceparent": parent})
