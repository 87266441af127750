"""A lock that no process is forked under: a child would find it held for ever, by a thread that it does not have."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from types import TracebackType


def _nothing() -> None:
    pass


class ForkLock:
    """A lock that is free in every forked child, whatever the threads of its parent were doing.

    Attributes:
        before: Called, while the lock is held, before this process is forked: lets go of what no child may inherit. It
            refers to its owner by nothing, or the two would keep each other alive.
    """

    def __init__(self, before: Callable[[], None] = _nothing) -> None:
        lock = threading.Lock()
        self.before, self.acquire, self.release = before, lock.acquire, lock.release
        with _registry:
            _locks.add(self)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_registry = threading.Lock()
_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()
_held: list[ForkLock] = []


def _before_fork() -> None:
    _registry.acquire()
    for lock in list(_locks):
        lock.acquire()
        _held.append(lock)
        lock.before()


def _after_fork() -> None:
    while _held:
        _held.pop().release()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
