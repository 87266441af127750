"""`Worker`: the reranker, event loop and limit of requests that all tasks of an engine in a process share."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from anyrerank._core.client import BaseReranker
from anyrerank.batch.asking import HOPELESS, Asker, GaveUpError
from anyrerank.batch.outcomes import Outcome
from anyrerank.batch.pace import Pace
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


class Worker:
    """Asks for rows on an event loop in a thread of its own, whichever thread or loop they come from."""

    def __init__(self, spec: Spec) -> None:
        self._in_flight = spec.in_flight
        self._pace = Pace(spec.in_flight)
        limit = limit_of(spec.rpm, spec.tpm)
        self._asker = Asker(spec.make(), self._pace, spec.max_wait, {}, limit=limit, is_proven=True)
        self._failed = 0
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
        found: list[Outcome | None] = [None] * len(given)
        waiting = iter(given)

        async def work(rows: Iterator[Row]) -> None:
            for row in rows:
                found[row.index] = await self._one(row)

        tasks = [asyncio.create_task(work(waiting)) for _ in range(min(self._in_flight, len(given)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [each for each in found if each is not None]

    async def _one(self, row: Row) -> Outcome:
        try:
            outcome = await self._asker.outcome(row)
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
