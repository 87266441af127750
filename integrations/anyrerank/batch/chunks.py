"""The chunks of a run: they are opened, their rows are recorded, and their parts are written."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from anyrerank.batch.folder import Folder
from anyrerank.batch.formats import Chunk, Mark
from anyrerank.batch.journal import Journal
from anyrerank.batch.manifest import ManifestWriter
from anyrerank.batch.outcomes import Outcome
from anyrerank.batch.progress import Meter
from anyrerank.batch.rows import Columns
from anyrerank.batch.source import InputFile
from anyrerank.errors import ConfigurationError, RerankError

Marks: TypeAlias = Mapping[str, Mapping[int, Mark]]
"""For the key of a file, where its chunks end."""

NO_MARKS: Marks = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of a run.

    Attributes:
        files: The input.
        columns: What is read of it.
        shard: Index and number of shards.
        chunk_rows: Rows of a chunk.
        retry_errors: Whether rows that failed in an earlier run are asked for again.
    """

    files: Sequence[InputFile]
    columns: Columns
    shard: tuple[int, int]
    chunk_rows: int
    retry_errors: bool


class Output(NamedTuple):
    """The folder and the manifest for the results."""

    folder: Folder
    manifest: ManifestWriter


class Key(NamedTuple):
    """The key of a chunk: the key of its file, and its number there."""

    file: str
    number: int


@dataclass(slots=True, eq=False)
class Open:
    """A chunk whose rows are being asked for."""

    file: InputFile
    chunk: Chunk
    journal: Journal
    read: int = 0
    is_read: bool = False

    @property
    def key(self) -> Key:
        """Which chunk it is."""
        return Key(self.file.key, self.chunk.number)

    @property
    def is_done(self) -> bool:
        """Whether all of its rows are done."""
        return self.is_read and len(self.journal.done) >= self.read


class _Again:
    """Reads chunks of a file a second time: one pass if they come in their order, as Parquet has to be decoded for it.

    Args:
        file: The file.
        work: How it is read.
        marks: Where its chunks end.
    """

    def __init__(self, file: InputFile, work: Work, marks: Mapping[int, Mark]) -> None:
        self._key = file.key
        self._number = -1
        self._chunks = file.format.chunks(Path(file.path), work.columns, work.chunk_rows, self._is_wanted, marks)

    def is_before(self, key: Key) -> bool:
        """Whether a chunk is still to come."""
        return (self._key, self._number) < key and self._key == key.file

    def chunk(self, number: int) -> Chunk:
        """A chunk that is still to come."""
        self._number = number
        return next(self._chunks)

    def close(self) -> None:
        """Close the file."""
        self._chunks.close()

    def _is_wanted(self, number: int) -> bool:
        return number == self._number


class Chunks:
    """The chunks of a shard, with the outcomes of their rows.

    Attributes:
        tally: The sums over all rows that are done, those of earlier runs included.
        sent: Rows that this run did.
    """

    def __init__(self, work: Work, output: Output, meter: Meter) -> None:
        self._work = work
        self._folder, self._manifest = output
        self._meter = meter
        self._counted: set[Key] = set()
        self._again: _Again | None = None
        self.tally = self._manifest.total()
        self.sent = 0

    def is_done(self, key: Key) -> bool:
        """Whether a chunk has its part."""
        return key in self._manifest.done

    def left(
        self,
        is_elsewhere: Callable[[Key], bool] = lambda _: False,
        marks: Marks = NO_MARKS,
    ) -> Generator[Open, None, None]:
        """The chunks that are not done.

        Args:
            is_elsewhere: Whether a chunk is to be left out.
            marks: Where chunks end, in addition to those in the manifest.
        """
        manifest, work = self._manifest, self._work
        for file in work.files:
            key, seen = file.key, manifest.chunks.get(file.key)
            if seen is not None and not any(self._is_wanted(file, number) for number in range(seen)):
                continue
            numbers: list[int] = [-1]

            def wanted(number: int, file: InputFile = file, numbers: list[int] = numbers) -> bool:
                numbers[0] = max(numbers[0], number)
                return self._is_wanted(file, number) and not is_elsewhere(Key(file.key, number))

            for chunk in file.format.chunks(
                Path(file.path), work.columns, work.chunk_rows, wanted, self._marks(key, marks)
            ):
                yield self._opened(file, chunk)
            manifest.seen_end(key, numbers[0] + 1)

    def again(self, key: Key, marks: Marks) -> Open:
        """One chunk, which was read before; see `left`. Its rows must be exhausted before the next call."""
        file = next(each for each in self._work.files if each.key == key.file)
        if self._again is None or not self._again.is_before(key):
            self.close()
            self._again = _Again(file, self._work, self._marks(key.file, marks))
        return self._opened(file, self._again.chunk(key.number))

    def _marks(self, file: str, more: Marks) -> Mapping[int, Mark]:
        return {**self._manifest.marks.get(file, {}), **more.get(file, {})}

    def _is_wanted(self, file: InputFile, number: int) -> bool:
        if not file.is_in(number, self._work.shard):
            return False
        done = self._manifest.done.get((file.key, number))
        return done is None or (self._work.retry_errors and bool(done.errors))

    def _opened(self, file: InputFile, chunk: Chunk) -> Open:
        """A chunk with its journal; one that is done gets a new one without its errors."""
        key = Key(file.key, chunk.number)
        if (done := self._manifest.done.get(key)) is not None:
            part = self._folder.part_path(*key, file.format.suffix)
            try:
                self._folder.reopen(*key, file.format.read(part))
            except FileNotFoundError:
                raise ConfigurationError(f"{part} is not there any more, so its errors cannot be retried") from None
            self._manifest.open_again(*key)
            self.tally.remove(done)
        journal = self._folder.journal(*key)
        if key not in self._counted:
            self._counted.add(key)
            self.tally.merge(journal.tally)
        return Open(file, chunk, journal)

    def record(self, opened: Open, index: int, outcome: Outcome) -> None:
        """Record the outcome of a row, which is never sent again after that."""
        self.tally.add(opened.journal.add(index, outcome))
        self.sent += 1
        self.show()

    def finish(self, opened: Open) -> None:
        """Write the part of a chunk whose rows are all done.

        The event loop waits for it: in a thread it took more CPU than it saved, as two cores used the same objects.
        """
        key, format_ = opened.key, opened.file.format
        opened.journal.close()
        outcomes = opened.journal.outcomes(opened.read)
        path = self._folder.part_path(*key, format_.suffix)
        self._folder.write_part(path, partial(format_.write, kept=opened.chunk.kept, outcomes=outcomes))
        self._manifest.done_with(*key, opened.journal.tally, opened.chunk.end)
        self._folder.forget(*key)

    def close(self) -> None:
        """Close the files that are read."""
        if self._again is not None:
            self._again.close()

    def reason(self, error: Exception) -> str:
        """Why a run stops after an error."""
        if isinstance(error, OSError):
            return f"{error.filename or self._folder.out}: {error.strerror or type(error).__name__}"
        return str(error) if isinstance(error, RerankError) else type(error).__name__

    def show(self, *, waiting: int = 0, now: bool = False) -> None:
        """Report progress."""
        failed = sum(self.tally.errors.values())
        self._meter.show(self.tally.rows, failed, self.tally.cost, waiting=waiting, now=now)
