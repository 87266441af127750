"""A lock that no process is forked under: SQLite's connections and file locks must not cross a fork."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from types import TracebackType


class ForkLock:
    """A lock that is held, by the forking thread, while the process forks.

    Args:
        before: Called with the lock held before the process forks, to close what no child may inherit. It must not
            refer to the owner of the lock, or both would keep each other alive.
    """

    def __init__(self, before: Callable[[], None]) -> None:
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
