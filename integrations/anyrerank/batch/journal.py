"""The journal of a chunk: the outcomes of its rows until all are answered."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from anyrerank.batch.lines import LinesFile, read_lines
from anyrerank.batch.outcomes import Outcome

_SYNC_EVERY = 64


class Journal:
    """The outcomes of a chunk, on disk as soon as they are there; only their indexes are in memory.

    Attributes:
        path: The file.
        done: Indexes of the rows that are done.
        earlier: What rows cost that are to be asked for again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: set[int] = set()
        self.earlier: dict[int, Outcome] = {}
        for index, outcome, again in _entries(path):
            if again:
                self.earlier[index] = outcome
            else:
                self.done.add(index)
        self._file = LinesFile(path)
        self._added = 0

    def add(self, index: int, outcome: Outcome) -> Outcome:
        """Record that a row is done, and return what is recorded.

        Raises:
            OSError: The journal cannot be written.
        """
        if (earlier := self.earlier.get(index)) is not None:
            outcome = outcome.after(earlier)
        self._file.append(_line(index, outcome, again=False))
        self._added += 1
        self.done.add(index)
        return outcome

    @property
    def needs_sync(self) -> bool:
        """Whether the row that was added last is the one after which `sync` is due."""
        return self._added % _SYNC_EVERY == 0

    def sync(self) -> None:
        """Force what was added to the disk; it takes milliseconds."""
        self._file.sync()

    def outcomes(self, count: int) -> list[Outcome]:
        """The outcomes of the first `count` rows, all of which must be done."""
        found = outcomes_in(self.path)
        return [found[index] for index in range(count)]

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
        file.append(_line(index, outcome, again=outcome.error is not None))
    file.sync()
    file.close()
    os.replace(temporary, path)  # noqa: PTH105  as in the other steps of the protocol
    return sum(outcome.error is not None for outcome in outcomes.values())


def _line(index: int, outcome: Outcome, *, again: bool) -> dict[str, object]:
    return {"row": index, "again": again, "outcome": outcome}


def _entries(path: Path) -> Iterator[tuple[int, Outcome, bool]]:
    for line in read_lines(path):
        with suppress(KeyError, TypeError):
            yield line["row"], Outcome(**line["outcome"]), line["again"]
