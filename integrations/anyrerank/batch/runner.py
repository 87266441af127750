"""`Runner`: sends the rows of all chunks and files through one sliding window."""

from __future__ import annotations

import asyncio

from anyrerank.batch.chunks import Chunks, Open
from anyrerank.batch.outcomes import Outcome
from anyrerank.batch.pace import Pace, Stopped
from anyrerank.batch.row_reranker import HOPELESS, GaveUpError, RowReranker
from anyrerank.batch.rows import Row
from anyrerank.errors import APIResponseValidationError, RerankError

_OPEN_CHUNKS = 4
"""Maximum number of open chunks: a slow row keeps its chunk open, and at this limit no further rows are read."""


class Runner:
    """One run of a job.

    Args:
        chunks: What is left to do.
        row_reranker: Asks for a row.
        pace: When to ask.
        in_flight: Maximum number of rows in flight.

    Attributes:
        stopped: Why the run stopped, or `None`.
    """

    def __init__(self, chunks: Chunks, row_reranker: RowReranker, pace: Pace, in_flight: int) -> None:
        self._chunks = chunks
        self._row_reranker = row_reranker
        self._pace = pace
        self._in_flight = in_flight
        self._reading = asyncio.Lock()
        self._closed = asyncio.Event()  # a chunk was closed, or holds nothing up any more
        self._left = chunks.left()
        self._current: Open | None = None
        self._open: set[Open] = set()
        self._waiting: list[tuple[Open, Row, Outcome]] = []
        self.stopped: str | None = None

    async def run(self) -> None:
        """Ask for all rows that are not done, until there are none left or the run stops."""
        workers = [asyncio.create_task(self._worker()) for _ in range(self._in_flight)]
        try:
            await asyncio.gather(*workers)
            if not self._pace.stopped:
                await self._end()
        except Exception as error:
            self.stop(self._chunks.reason(error))
            await asyncio.gather(*workers, return_exceptions=True)  # what is in flight is paid for
            if not isinstance(error, OSError | RerankError):
                raise
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for each in self._open:
                each.journal.close()
            self._left.close()
        self._chunks.show(now=True)

    def stop(self, why: str) -> None:
        """Send nothing more, and let the rows in flight end."""
        self.stopped = self.stopped or why
        self._pace.stop()
        self._closed.set()

    async def _worker(self) -> None:
        while (taken := await self._next()) is not None:
            opened, row = taken
            try:
                outcome = await self._row_reranker.outcome(row)
            except Stopped:
                return
            except GaveUpError as error:
                self._gave_up(opened, row, error)
                continue
            if outcome.error is None and outcome.attempts and not self._pace.stopped:
                await self._forgive()
            await self._record(opened, row, outcome)

    async def _next(self) -> tuple[Open, Row] | None:
        """The next row that is not done, with its chunk."""
        async with self._reading:
            while (opened := await self._reading_from()) is not None:
                for row in opened.chunk.rows:
                    opened.read += 1
                    if row.index not in opened.journal.done:
                        return opened, row
                opened.is_read, self._current = True, None
                self._close_if_done(opened)
        return None

    async def _reading_from(self) -> Open | None:
        """The chunk whose rows are read now; none at the end of the input, or when the run stops."""
        while self._current is None and not self._pace.stopped:
            if len(self._open) >= _OPEN_CHUNKS + len(
                self._waiting
            ):  # a row that waits for another's success holds none up
                self._closed.clear()
                await self._closed.wait()
            elif (opened := next(self._left, None)) is None:
                return None
            else:
                self._current = opened
                self._open.add(opened)
        return None if self._pace.stopped else self._current

    async def _record(self, opened: Open, row: Row, outcome: Outcome) -> None:
        self._chunks.record(opened, row.index, outcome)
        if opened.journal.is_sync_due():
            await asyncio.to_thread(opened.journal.sync)  # other rows go on meanwhile
        self._close_if_done(opened)

    def _close_if_done(self, opened: Open) -> None:
        """Write the part of a chunk, if all of its rows are done."""
        if opened.is_done and opened in self._open:
            self._chunks.finish(opened)
            self._open.remove(opened)
            self._closed.set()

    def _gave_up(self, opened: Open, row: Row, error: GaveUpError) -> None:
        self._waiting.append((opened, row, error.outcome))
        self._closed.set()
        if error.at_once:
            self.stop(f"{error.outcome.error}: {error.outcome.message}")
        elif len(self._waiting) >= HOPELESS:
            why = f"{error.outcome.error}: {error.outcome.message}"
            self.stop(f"{HOPELESS} rows in a row failed, the last one with {why}")

    async def _forgive(self) -> None:
        """Record the rows that failed before one succeeded: as it did, they were the cause themselves."""
        rows, self._waiting = self._waiting, []
        for opened, row, outcome in rows:
            await self._record(opened, row, outcome)

    async def _end(self) -> None:
        """Record the rows that failed last, or stop if the cause may be another one than these rows."""
        errors = {outcome.error for _, _, outcome in self._waiting}
        is_theirs = self._row_reranker.is_proven and errors == {APIResponseValidationError.__name__}
        if errors and not self._pace.answers and not is_theirs:
            _, _, outcome = self._waiting[-1]
            self.stop(f"no row was answered, the last one failed with {outcome.error}: {outcome.message}")
        else:
            await self._forgive()
