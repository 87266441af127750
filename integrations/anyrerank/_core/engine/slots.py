"""A limit of concurrent requests over all calls, threads and event loops: a semaphore for flows."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TypeVar

from anyrerank._core.runtime import Flow, Wait, reset_in_child

T = TypeVar("T")


class Slots:
    """At most `n` flows run at once; the others wait in a queue, until their deadline.

    A copy or a pickle starts with all slots free, and so does a forked child.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._reset()
        reset_in_child(self, Slots._reset)

    @classmethod
    def of(cls, n: int | None) -> Slots | None:
        """`n` slots, or `None` for no limit."""
        return None if n is None else cls(n)

    def _reset(self) -> None:
        self._free = self.n
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Slots], tuple[int]]:
        return (Slots, (self.n,))

    def holding(self, flow: Flow[T]) -> Flow[T]:
        """Run `flow` in a slot, once one is free."""
        turn = self._enter()
        try:
            if not turn.done():
                yield Wait(turn)
            return (yield from flow)
        finally:
            self._leave(turn)

    def _enter(self) -> Future[None]:
        """A future that is done as soon as it has a slot."""
        turn: Future[None] = Future()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.set_result(None)
            else:
                self._waiting.append(turn)
        return turn

    def _leave(self, turn: Future[None]) -> None:
        with self._lock:
            if not turn.done():
                self._waiting.remove(turn)
            elif self._waiting:
                self._waiting.popleft().set_result(None)
            else:
                self._free += 1
