"""Who a call is for, said around the call: for pipelines that have no argument for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_AROUND: ContextVar[Mapping[str, Any]] = ContextVar("anyrerank_attributes", default={})  # noqa: B039  never changed


@contextmanager
def using_attributes(*, user: str | None = None, metadata: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Give every call inside an end user and tags, whichever framework makes it, in either colour.

        with using_attributes(user="ann", metadata={"tags": ["search"]}):
            chain.invoke("...")

    An argument of the call itself wins; what a reranker was made with does not. Threads and tasks that a framework
    starts inside with a copy of the context, as LangChain and asyncio do, are inside too.

    Args:
        user: The end user, or `None` to leave it as it is.
        metadata: Added to what is there.
    """
    outer = _AROUND.get()
    added = {**outer.get("metadata", {}), **(metadata or {})}
    token = _AROUND.set({**outer, **({} if user is None else {"user": user}), **({"metadata": added} if added else {})})
    try:
        yield
    finally:
        _AROUND.reset(token)


def attributes(own: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The `user` and `metadata` around a call, as far as they are given; `own` is the metadata that is added to."""
    around = _AROUND.get()
    if "metadata" not in around:
        return around
    return {**around, "metadata": {**(own or {}), **around["metadata"]}}
