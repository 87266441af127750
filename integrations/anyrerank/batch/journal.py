"""The journal of a chunk: the outcomes of its rows until all are answered."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from anyrerank.batch.lines import LinesFile, read_lines
from anyrerank.batch.outcomes import Outcome
from anyrerank.batch.tally import Tally

_SYNC_ROWS = 64
_SYNC_SECONDS = 1.0
"""Both must be over: a power failure costs the last 64 rows, or at high rates the last second."""


class Journal:
    """The outcomes of a chunk, on disk as soon as they are there.

    Attributes:
        path: The file.
        done: For the index of each row that is done, its outcome as JSON.
        earlier: What rows cost that are to be asked for again.
        tally: The sums over the rows that are done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        done: dict[int, Outcome] = {}
        self.earlier: dict[int, Outcome] = {}
        for index, outcome, again in _entries(path):
            (self.earlier if again else done)[index] = outcome
        # Thousands of objects with their lists would keep the garbage collector busy.
        self.done = {index: orjson.dumps(outcome) for index, outcome in done.items()}
        self.tally = Tally.of(done.values())
        self._file = LinesFile(path)
        self._unsynced = 0
        self._synced_at = time.monotonic()

    def add(self, index: int, outcome: Outcome) -> Outcome:
        """Record that a row is done, and return what is recorded.

        Raises:
            OSError: The journal cannot be written.
        """
        if (earlier := self.earlier.get(index)) is not None:
            outcome = outcome.after(earlier)
        text = orjson.dumps(outcome)
        self._file.append(_line(index, text, again=False))
        self.done[index] = text
        self.tally.add(outcome)
        self._unsynced += 1
        return outcome

    def is_sync_due(self) -> bool:
        """Whether `sync` is to be called now; says so once."""
        now = time.monotonic()
        is_due = self._unsynced >= _SYNC_ROWS and now >= self._synced_at + _SYNC_SECONDS
        if is_due:
            self._unsynced, self._synced_at = 0, now
        return is_due

    def sync(self) -> None:
        """Force what was added to the disk; it takes milliseconds."""
        self._file.sync()

    def outcomes(self, count: int) -> list[bytes]:
        """The outcomes of the first `count` rows as JSON; all must be done."""
        return [self.done[index] for index in range(count)]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def outcomes_in(path: Path) -> dict[int, Outcome]:
    """The outcomes of the rows that are done, by index."""
    return {index: outcome for index, outcome, again in _entries(path) if not again}


def reopen(path: Path, outcomes: Mapping[int, Outcome]) -> int:
    """Write the journal of a chunk whose failed rows are to be asked for again, whole or not at all.

    Returns:
        How many rows are to be asked for.
    """
    temporary = path.with_suffix(".tmp")
    with suppress(FileNotFoundError):
        temporary.unlink()
    file = LinesFile(temporary)
    for index, outcome in outcomes.items():
        file.append(_line(index, orjson.dumps(outcome), again=outcome.error is not None))
    file.sync()
    file.close()
    os.replace(temporary, path)  # noqa: PTH105  as in the other steps of the protocol
    return sum(outcome.error is not None for outcome in outcomes.values())


def _line(index: int, outcome: bytes, *, again: bool) -> dict[str, object]:
    return {"row": index, "again": again, "outcome": orjson.Fragment(outcome)}


def _entries(path: Path) -> Iterator[tuple[int, Outcome, bool]]:
    for line in read_lines(path):
        with suppress(KeyError, TypeError):
            yield line["row"], Outcome(**line["outcome"]), line["again"]
