"""The interface of a file format."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from anyrerank.batch.outcomes import Outcome
from anyrerank.batch.rows import Columns, Row


class Mark(NamedTuple):
    """Where a chunk ends in a file of lines."""

    offset: int
    line: int


@dataclass(slots=True)
class Chunk:
    """Some rows of a file, that become one part of the output.

    Attributes:
        number: Its place in the file.
        rows: Its rows, read as they are asked for; they must be exhausted before the next chunk is read.
        kept: What is copied from the rows read so far, as the format stores it.
        end: Where it ends, once its rows are exhausted.
    """

    number: int
    rows: Iterator[Row] = field(repr=False)
    kept: list[Any] = field(default_factory=list, repr=False)
    end: Mark | None = None


class Sample(NamedTuple):
    """The first rows of a file, and about how many it has."""

    rows: Sequence[Row]
    total: int
    is_exact: bool


class Format(Protocol):
    """Reads input and writes parts."""

    suffix: str

    def sample(self, path: Path, columns: Columns, limit: int) -> Sample:
        """The first rows.

        Raises:
            BadRequestError: The file cannot be read, or its columns are not there.
            OSError: The file cannot be read.
        """

    def chunks(
        self, path: Path, columns: Columns, size: int, wanted: Callable[[int], bool], marks: Mapping[int, Mark]
    ) -> Generator[Chunk, None, None]:
        """The wanted chunks of a file, in order.

        Args:
            path: The file.
            columns: What to read.
            size: Rows of a chunk.
            wanted: Gets the number of each chunk, when it is that chunk's turn.
            marks: Where chunks end, as far as it is known.
        """

    def write(self, file: BinaryIO, kept: Sequence[Any], outcomes: Sequence[bytes]) -> None:
        """Write a part.

        Args:
            file: The part.
            kept: What is copied from the input.
            outcomes: Those of its rows, as JSON.
        """

    def read(self, path: Path) -> list[Outcome]:
        """The outcomes in a part."""
