"""`Worker`: the reranker, event loop and limit of requests that all tasks of an engine in a process share."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from anyrerank._core.client import BaseReranker
from anyrerank.batch.outcomes import Outcome
from anyrerank.batch.pace import Pace
from anyrerank.batch.row_reranker import HOPELESS, GaveUpError, RowReranker
from anyrerank.batch.rows import Row
from anyrerank.batch.settings import limit_of
from anyrerank.errors import RerankError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The settings of a worker; tasks with equal ones share a worker.

    Attributes:
        make: Makes the reranker.
        in_flight: Maximum number of requests in flight in a process.
        rpm, tpm: Maximum number of requests and of tokens per minute in a process.
        max_wait: Seconds for which a row is tried again.
    """

    make: Callable[[], BaseReranker]
    in_flight: int
    rpm: float | None
    tpm: float | None
    max_wait: float


class _Together:
    """The outcomes of rows that came together, once all are there.

    Attributes:
        outcomes: Gets them, or the error of one.
    """

    def __init__(self, count: int) -> None:
        self.outcomes: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._found: dict[int, Outcome] = {}
        self._count = count
        if not count:
            self.outcomes.set_result([])

    def add(self, index: int, outcome: Outcome) -> None:
        """Keep the outcome of a row."""
        self._found[index] = outcome
        if len(self._found) == self._count and not self.outcomes.done():
            self.outcomes.set_result([self._found[index] for index in range(self._count)])

    def fail(self, error: Exception) -> None:
        """Fail all of them."""
        if not self.outcomes.done():
            self.outcomes.set_exception(error)


class Worker:
    """Asks for rows on an event loop in a thread of its own, whichever thread or loop they come from."""

    def __init__(self, spec: Spec) -> None:
        self._in_flight = spec.in_flight
        self._pace = Pace(spec.in_flight)
        limit = limit_of(spec.rpm, spec.tpm)
        self._row_reranker = RowReranker(spec.make(), self._pace, spec.max_wait, {}, limit=limit, is_proven=True)
        self._failed = 0
        self._waiting: deque[tuple[_Together, Row]] = deque()
        self._asking: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="anyrerank-batch", daemon=True).start()

    def outcomes(self, rows: Iterable[Row]) -> list[Outcome]:
        """The outcomes of rows, in their order.

        Raises:
            RerankError: Too many rows in a row failed for a reason that is not their own, such as a refused key.
        """
        return self._start(self._all(rows)).result()

    async def aoutcomes(self, rows: Iterable[Row]) -> list[Outcome]:
        """`outcomes`, on any event loop."""
        return await asyncio.wrap_future(self._start(self._all(rows)))

    def _start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _all(self, rows: Iterable[Row]) -> list[Outcome]:
        given = list(rows)
        together = _Together(len(given))
        self._waiting.extend((together, row) for row in given)
        while len(self._asking) < min(self._in_flight, len(self._waiting)):
            task = asyncio.create_task(self._ask())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        return await together.outcomes

    async def _ask(self) -> None:
        """Ask for rows while there are any, whichever batch they are of; so as many tasks run as rows are in flight."""
        while self._waiting:
            together, row = self._waiting.popleft()
            if together.outcomes.done():
                continue  # it failed, or is no longer wanted
            try:
                outcome = await self._one(row)
            except Exception as error:  # noqa: BLE001  raised for the batch
                together.fail(error)
            else:
                together.add(row.index, outcome)

    async def _one(self, row: Row) -> Outcome:
        try:
            outcome = await self._row_reranker.outcome(row)
        except GaveUpError as error:
            outcome = error.outcome
            self._failed += 1
            if self._failed >= HOPELESS:
                why = f"{outcome.error}: {outcome.message}"
                raise RerankError(f"{self._failed} rows in a row failed, the last one with {why}") from None
        else:
            if outcome.attempts and outcome.error is None:
                self._failed = 0
        return outcome


_workers: dict[tuple[int, bytes], Worker] = {}
_lock = threading.Lock()


def worker(spec: Spec) -> Worker:
    """The worker of this process for a specification. A forked process gets another one than its parent."""
    key = os.getpid(), pickle.dumps(spec)
    with _lock:
        if key not in _workers:
            _workers[key] = Worker(spec)
        return _workers[key]
