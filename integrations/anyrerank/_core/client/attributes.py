"""User and metadata of calls that are made inside a `with` block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from anyrerank.errors import BadRequestError

_CURRENT: ContextVar[Mapping[str, Any]] = ContextVar("anyrerank_attributes", default={})  # noqa: B039  never changed


@contextmanager
def using_attributes(*, user: str | None = None, metadata: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Set `user` and `metadata` of every call inside the block, for pipelines that cannot pass them to the call.

        with using_attributes(user="ann", metadata={"tags": ["search"]}):
            chain.invoke("...")

    They replace the defaults of a reranker; arguments of the call itself replace them. They apply to sync and async
    calls, and to threads and tasks that a framework starts with a copy of the context, as LangChain and asyncio do.

    Args:
        user: The end user; `None` to leave it unchanged.
        metadata: Added to the current metadata.

    Raises:
        BadRequestError: `user` is not a string, or `metadata` is not a mapping.
    """
    if not isinstance(user, str | None):
        raise BadRequestError(f"user must be a string, or None, got a value of type {type(user).__name__}")
    if not isinstance(metadata, Mapping | None):
        raise BadRequestError(f"metadata must be a mapping, or None, got a value of type {type(metadata).__name__}")
    outer = _CURRENT.get()
    added = {**outer.get("metadata", {}), **(metadata or {})}
    new = {**({} if user is None else {"user": user}), **({"metadata": added} if added else {})}
    token = _CURRENT.set({**outer, **new})
    try:
        yield
    finally:
        _CURRENT.reset(token)


def attributes(own: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The current `user` and `metadata`, if set; the metadata is added to `own`."""
    current = _CURRENT.get()
    if "metadata" not in current:
        return current
    return {**current, "metadata": {**(own or {}), **current["metadata"]}}
