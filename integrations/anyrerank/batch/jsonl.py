"""The format JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from anyrerank.batch.formats import Chunk, Mark, Sample
from anyrerank.batch.outcomes import Outcome
from anyrerank.batch.rows import Columns, Row, kept_of, row_of
from anyrerank.errors import BadRequestError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SAMPLE_BYTES = 1 << 20
_COUNTED_BYTES = 64 << 20
"""Size of a file up to which its rows are counted, which takes a fraction of a second."""


class Jsonl:
    """One JSON object per line; blank lines are not rows."""

    suffix = ".jsonl"

    def sample(self, path: Path, columns: Columns, limit: int) -> Sample:
        """The first rows, and how many there are: counted in a small file, else from the length of the first."""
        rows: list[Row] = []
        size = path.stat().st_size
        with path.open("rb") as file:
            lines = _Lines(file)
            while len(rows) < limit and lines.offset < _SAMPLE_BYTES and not lines.is_at_end():
                rows.append(_read(*lines.take(), columns, len(rows))[0])
            if size <= _COUNTED_BYTES or lines.is_at_end():
                return Sample(rows, len(rows) + lines.count(), is_exact=True)
            return Sample(rows, round(len(rows) * size / lines.offset), is_exact=False)

    def chunks(
        self, path: Path, columns: Columns, size: int, wanted: Callable[[int], bool], marks: Mapping[int, Mark]
    ) -> Generator[Chunk, None, None]:
        """The wanted chunks; those before that are not wanted are skipped by seeking where it is known how far."""
        with path.open("rb") as file:
            lines, number = _Lines(file), 0
            while not lines.is_at_end():
                if wanted(number):
                    chunk = Chunk(number, iter(()))
                    chunk.rows = _rows(lines, columns, size, chunk)
                    yield chunk
                elif (mark := marks.get(number)) is not None:
                    lines.go_to(mark)
                else:
                    lines.skip(size)
                number += 1

    def write(self, file: BinaryIO, kept: Sequence[Any], outcomes: Sequence[bytes]) -> None:
        """Write a part: what is kept, then the columns."""
        file.writelines(line_of(each, outcome) for each, outcome in zip(kept, outcomes, strict=True))

    def read(self, path: Path) -> list[Outcome]:
        """The outcomes in a part."""
        with path.open("rb") as file:
            return [Outcome.from_json(_loads(line)) for line in file]


class _Lines:
    """The lines of a file that are not blank, with their numbers and offsets."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead: tuple[int, int, bytes] | None = None
        self.offset = self.line = 0

    def is_at_end(self) -> bool:
        if self._ahead is None:
            offset, line = self.offset, self.line
            for text in iter(self._file.readline, b""):
                offset, line = offset + len(text), line + 1
                if content := (text.removeprefix(_BYTE_ORDER_MARK) if line == 1 else text).strip():
                    self._ahead = offset, line, content
                    break
        return self._ahead is None

    def take(self) -> tuple[bytes, int]:
        """The next line and its number; there must be one."""
        self.is_at_end()
        assert self._ahead is not None  # noqa: S101  see above
        self.offset, self.line, text = self._ahead
        self._ahead = None
        return text, self.line

    def skip(self, count: int) -> None:
        while count and not self.is_at_end():
            self.take()
            count -= 1

    def count(self) -> int:
        """How many lines are left; they are read."""
        count = 0
        while not self.is_at_end():
            self.take()
            count += 1
        return count

    def go_to(self, mark: Mark) -> None:
        self.offset, self.line = mark
        self._ahead = None
        self._file.seek(mark.offset)


def _rows(lines: _Lines, columns: Columns, size: int, chunk: Chunk) -> Iterator[Row]:
    for index in range(size):
        if lines.is_at_end():
            break
        row, kept = _read(*lines.take(), columns, index)
        chunk.kept.append(kept)
        yield row
    chunk.end = Mark(lines.offset, lines.line)


def _read(text: bytes, line: int, columns: Columns, index: int) -> tuple[Row, dict[str, Any]]:
    """The row in a line, and what is kept of it; the message of a bad line does not quote it."""
    where = f"line {line}"
    try:
        found = _loads(text)
    except (ValueError, RecursionError):
        return Row(index=index, problem=BadRequestError(f"{where} is not JSON")), {}
    if not isinstance(found, dict):
        return Row(index=index, problem=BadRequestError(f"{where} must be a JSON object")), {}
    return row_of(found, columns, index, where), kept_of(found, columns)


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)  # which takes half a surrogate pair, and numbers of any size


def line_of(kept: dict[str, Any], outcome: bytes) -> bytes:
    """A line of a part, with its line break."""
    if not kept:
        return outcome + b"\n"
    try:
        return orjson.dumps(kept)[:-1] + b"," + outcome[1:] + b"\n"
    except TypeError:
        return json.dumps(kept).encode()[:-1] + b"," + outcome[1:] + b"\n"
