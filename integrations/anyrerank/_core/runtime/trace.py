"""The `traceparent` header, by which servers join the trace of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeVar

from anyrerank._core.runtime.effects import Flow
from anyrerank._core.runtime.messages import HttpRequest

T = TypeVar("T")

_parent: ContextVar[str | None] = ContextVar("anyrerank_traceparent", default=None)


@contextmanager
def tracing(traceparent: str | None) -> Iterator[None]:
    """Send a `traceparent` with every request inside the block, unless it has one of its own.

    Args:
        traceparent: As https://www.w3.org/TR/trace-context writes it; `None` to send none.
    """
    before = _parent.get()
    _parent.set(traceparent)
    try:
        yield
    finally:
        _parent.set(before)  # not `reset`: a flow may be closed in another context


def traced(request: HttpRequest) -> HttpRequest:
    """`request` with the `traceparent` of its call."""
    parent = _parent.get()
    if parent is None or "traceparent" in request.headers:
        return request
    return replace(request, headers={**request.headers, "traceparent": parent})


def untraced(flow: Flow[T]) -> Flow[T]:
    """Run a flow whose requests have no `traceparent` of the call."""
    with tracing(None):
        return (yield from flow)
