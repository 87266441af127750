"""The run: rows flow through one sliding window, over the borders of chunks and files."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from anyrerank.batch.asking import HOPELESS, Asker, GaveUpError
from anyrerank.batch.folder import Folder
from anyrerank.batch.formats import Chunk
from anyrerank.batch.journal import Journal, outcomes_in
from anyrerank.batch.manifest import Writing
from anyrerank.batch.outcomes import Outcome
from anyrerank.batch.pace import Pace, Stopped
from anyrerank.batch.progress import Meter
from anyrerank.batch.rows import Columns, Row
from anyrerank.batch.source import InputFile
from anyrerank.batch.tally import Tally
from anyrerank.errors import ConfigurationError, RerankError

_OPEN_CHUNKS = 4
"""Maximum number of open chunks: a slow row keeps its chunk open, and at this limit no further rows are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a run does.

    Attributes:
        files: The input.
        columns: What is read of it.
        shard: Index and number of shards.
        chunk_rows: Rows of a chunk.
        in_flight: Maximum number of rows in flight.
        retry_errors: Whether rows that failed in an earlier run are asked for again.
    """

    files: Sequence[InputFile]
    columns: Columns
    shard: tuple[int, int]
    chunk_rows: int
    in_flight: int
    retry_errors: bool


class Output(NamedTuple):
    """Where the results go."""

    folder: Folder
    manifest: Writing


@dataclass(slots=True, eq=False)
class _Open:
    """A chunk whose rows are being asked for."""

    file: InputFile
    chunk: Chunk
    journal: Journal
    read: int = 0
    is_read: bool = False
    is_closing: bool = False

    @property
    def is_done(self) -> bool:
        return self.is_read and len(self.journal.done) >= self.read


class Runner:
    """One run of a job.

    Attributes:
        tally: The sums over all rows that are done, those of earlier runs included.
        sent: Rows that this run did.
        stopped: Why the run stopped, or `None`.
    """

    def __init__(self, work: Work, output: Output, asker: Asker, pace: Pace, meter: Meter) -> None:
        self._work = work
        self._folder, self._manifest = output
        self._asker = asker
        self._pace = pace
        self._meter = meter
        self._reading = asyncio.Lock()
        self._closed = asyncio.Event()  # a chunk was closed, or holds nothing up any more
        self._opened = self._chunks()
        self._current: _Open | None = None
        self._open: set[_Open] = set()
        self._waiting: list[tuple[_Open, Row, Outcome]] = []
        self.tally = self._manifest.total()
        self.sent = 0
        self.stopped: str | None = None

    async def run(self) -> None:
        """Ask for all rows that are not done, until there are none left or the run stops."""
        workers = [asyncio.create_task(self._worker()) for _ in range(self._work.in_flight)]
        try:
            await asyncio.gather(*workers)
            if not self._pace.stopped:
                await self._end()
        except Exception as error:
            self.stop(self._reason(error))
            await asyncio.gather(*workers, return_exceptions=True)  # what is in flight is paid for
            if not isinstance(error, OSError | RerankError):
                raise
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for each in self._open:
                each.journal.close()
            self._opened.close()
        self._show(now=True)

    def stop(self, why: str) -> None:
        """Send nothing more, and let the rows in flight end."""
        self.stopped = self.stopped or why
        self._pace.stop()
        self._closed.set()

    async def _worker(self) -> None:
        while (taken := await self._next()) is not None:
            opened, row = taken
            try:
                outcome = await self._asker.outcome(row)
            except Stopped:
                return
            except GaveUpError as error:
                self._gave_up(opened, row, error)
                continue
            if outcome.error is None and outcome.attempts and not self._pace.stopped:
                await self._forgive()
            await self._record(opened, row, outcome)

    async def _next(self) -> tuple[_Open, Row] | None:
        """The next row that is not done, with its chunk."""
        async with self._reading:
            while (opened := await self._reading_from()) is not None:
                for row in opened.chunk.rows:
                    opened.read += 1
                    if row.index not in opened.journal.done:
                        return opened, row
                opened.is_read, self._current = True, None
                await self._close_if_done(opened)
        return None

    async def _reading_from(self) -> _Open | None:
        """The chunk whose rows are read now; none at the end of the input, or when the run stops."""
        while self._current is None and not self._pace.stopped:
            if len(self._open) >= _OPEN_CHUNKS + len(
                self._waiting
            ):  # a row that waits for another's success holds none up
                self._closed.clear()
                await self._closed.wait()
            elif (opened := next(self._opened, None)) is None:
                return None
            else:
                self._current = opened
                self._open.add(opened)
        return None if self._pace.stopped else self._current

    def _chunks(self) -> Generator[_Open, None, None]:
        """The chunks of this shard that are not done."""
        manifest, work = self._manifest, self._work
        for file in work.files:
            key, seen = file.key, manifest.chunks.get(file.key)
            if seen is not None and not any(self._is_wanted(file, number) for number in range(seen)):
                continue
            numbers: list[int] = [-1]

            def wanted(number: int, file: InputFile = file, numbers: list[int] = numbers) -> bool:
                numbers[0] = max(numbers[0], number)
                return self._is_wanted(file, number)

            marks = manifest.marks.get(key, {})
            for chunk in file.format.chunks(Path(file.path), work.columns, work.chunk_rows, wanted, marks):
                yield self._opening(file, chunk)
            manifest.seen_end(key, numbers[0] + 1)

    def _is_wanted(self, file: InputFile, number: int) -> bool:
        if not file.is_in(number, self._work.shard):
            return False
        done = self._manifest.done.get((file.key, number))
        return done is None or (self._work.retry_errors and bool(done.errors))

    def _opening(self, file: InputFile, chunk: Chunk) -> _Open:
        """A chunk with its journal; one that is done gets a new one without its errors."""
        key, number = file.key, chunk.number
        if (done := self._manifest.done.get((key, number))) is not None:
            part = self._folder.part_path(key, number, file.format.suffix)
            try:
                self._folder.reopen(key, number, file.format.read(part))
            except FileNotFoundError:
                raise ConfigurationError(f"{part} is not there any more, so its errors cannot be retried") from None
            self._manifest.open_again(key, number)
            self.tally.remove(done)
        journal = self._folder.journal(key, number)
        self.tally.merge(Tally.of(outcomes_in(journal.path).values()))
        return _Open(file, chunk, journal)

    async def _record(self, opened: _Open, row: Row, outcome: Outcome) -> None:
        """Write down what became of a row. From here on it is never asked for again."""
        self.tally.add(opened.journal.add(row.index, outcome))
        self.sent += 1
        self._show()
        if opened.journal.needs_sync:
            await asyncio.to_thread(opened.journal.sync)  # other rows go on meanwhile
        await self._close_if_done(opened)

    async def _close_if_done(self, opened: _Open) -> None:
        """Write the part of a chunk, if all of its rows are done."""
        if not opened.is_done or opened.is_closing:
            return
        opened.is_closing = True
        await asyncio.to_thread(self._commit, opened)
        self._open.remove(opened)
        self._closed.set()

    def _commit(self, opened: _Open) -> None:
        key, number, format_ = opened.file.key, opened.chunk.number, opened.file.format
        opened.journal.close()
        outcomes = opened.journal.outcomes(opened.read)
        path = self._folder.part_path(key, number, format_.suffix)
        self._folder.write_part(path, partial(format_.write, kept=opened.chunk.kept, outcomes=outcomes))
        self._manifest.done_with(key, number, Tally.of(outcomes), opened.chunk.end)
        self._folder.forget(key, number)

    def _gave_up(self, opened: _Open, row: Row, error: GaveUpError) -> None:
        self._waiting.append((opened, row, error.outcome))
        self._closed.set()
        if error.at_once:
            self.stop(f"{error.outcome.error}: {error.outcome.message}")
        elif len(self._waiting) >= HOPELESS:
            why = f"{error.outcome.error}: {error.outcome.message}"
            self.stop(f"{HOPELESS} rows in a row failed, the last one with {why}")

    async def _forgive(self) -> None:
        """Write down the rows that failed before one succeeded: the reason was theirs after all."""
        rows, self._waiting = self._waiting, []
        for opened, row, outcome in rows:
            await self._record(opened, row, outcome)

    async def _end(self) -> None:
        """Deal with the rows that failed last."""
        if self._waiting and not self._pace.answers:
            _, _, outcome = self._waiting[-1]
            self.stop(f"no row was answered, the last one failed with {outcome.error}: {outcome.message}")
        else:
            await self._forgive()

    def _reason(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"{error.filename or self._folder.out}: {error.strerror or type(error).__name__}"
        return str(error) if isinstance(error, RerankError) else type(error).__name__

    def _show(self, *, now: bool = False) -> None:
        self._meter.show(self.tally.rows, sum(self.tally.errors.values()), self.tally.cost, now=now)
