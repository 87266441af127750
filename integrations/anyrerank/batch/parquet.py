"""The format Parquet (`pip install 'anyrerank[batch]'`)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from anyrerank.batch.formats import Chunk, Mark, Sample
from anyrerank.batch.outcomes import COLUMNS, Outcome
from anyrerank.batch.rows import IDS, Columns, Row, checked
from anyrerank.errors import BadRequestError, MissingExtraError

try:
    import pyarrow as pa
    from pyarrow import json as pj
    from pyarrow import parquet as pq
except ImportError as error:
    raise MissingExtraError(f"pyarrow cannot be imported ({error}): pip install 'anyrerank[batch]'") from error

_BATCH = 200
_BUFFER = 1 << 20

SCHEMA = pa.schema(
    {
        "ranking": pa.list_(pa.int32()),
        "scores": pa.list_(pa.float64()),
        "error": pa.string(),
        "message": pa.string(),
        "http_status": pa.int32(),
        "attempts": pa.int32(),
        "cost": pa.float64(),
        "cost_estimated": pa.bool_(),
        "saved": pa.float64(),
        "cached": pa.int32(),
        "seconds": pa.float64(),
        "deployment": pa.string(),
        "request_id": pa.string(),
    }
)
"""The columns of the output, without those that are kept from the input."""


class Parquet:
    """Parquet files. Memory does not depend on the size of a row group."""

    suffix = ".parquet"

    def sample(self, path: Path, columns: Columns, limit: int) -> Sample:
        """The first rows, and how many there are."""
        with _opened(path) as file:
            names = _Names(file, path, columns)
            reader = _Reader(file, names.all)
            rows = chain.from_iterable(_rows(piece, names, path, 0, 0) for piece in reader.pieces(0, limit))
            return Sample(list(rows), reader.count, is_exact=True)

    def chunks(
        self, path: Path, columns: Columns, size: int, wanted: Callable[[int], bool], marks: Mapping[int, Mark]
    ) -> Generator[Chunk, None, None]:
        """The wanted chunks; row groups without any are not read."""
        with _opened(path) as file:
            names = _Names(file, path, columns)
            reader = _Reader(file, names.all)
            for number in filter(wanted, range(-(-reader.count // size))):
                chunk = Chunk(number, iter(()))
                chunk.rows = _chunk_rows(reader.pieces(number * size, size), names, path, chunk, number * size)
                yield chunk

    def write(self, file: BinaryIO, kept: Sequence[Any], outcomes: Sequence[bytes]) -> None:
        """Write a part: what is kept, with the types of the input, then the columns."""
        table = table_of(outcomes)
        if kept and kept[0].num_columns:
            first = pa.Table.from_batches(kept)
            table = pa.table([*first.columns, *table.columns], schema=pa.schema([*first.schema, *table.schema]))
        pq.write_table(table, file)

    def read(self, path: Path) -> list[Outcome]:
        """The outcomes in a part."""
        rows = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
        return [Outcome.from_json(row) for row in rows]


def table_of(outcomes: Sequence[bytes]) -> Any:
    """The columns of outcomes, which are JSON, as an Arrow table.

    Arrow parses them: to build arrays from objects it imports pandas if that is installed, which takes 0.2 s.
    """
    if not outcomes:
        return SCHEMA.empty_table()
    longest = 1 + max(map(len, outcomes))  # a block must hold a whole line
    return pj.read_json(
        pa.BufferReader(b"\n".join(outcomes)),
        read_options=pj.ReadOptions(use_threads=False, block_size=max(_BUFFER, longest)),
        parse_options=pj.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="error"),
    )


class _Names:
    """The columns of a file that are read.

    Raises:
        BadRequestError: A column is not there.
    """

    def __init__(self, file: Any, path: Path, columns: Columns) -> None:
        there = file.schema_arrow.names
        self.query = columns.query
        documents = next((name for name in columns.document_names if name in there), None)
        self.keep = [name for name in IDS if name in there] if columns.keep is None else list(columns.keep)
        missing = [name for name in (self.query, *self.keep) if name not in there]
        if documents is None:
            missing.append(" or ".join(columns.document_names))
        if missing:
            raise BadRequestError(f"{path} has no column {', '.join(missing)}; its columns: {', '.join(there)[:500]}")
        self.documents = documents or ""
        self.all = list(dict.fromkeys((self.query, self.documents, *self.keep)))


def _opened(path: Path) -> Any:
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except pa.ArrowException as error:
        raise BadRequestError(f"{path} is not a Parquet file ({type(error).__name__})") from None


class _Reader:
    """Reads the rows of a file forwards, and no further than it is asked. Row groups may be skipped.

    Args:
        file: The file.
        names: The columns.
    """

    def __init__(self, file: Any, names: Sequence[str]) -> None:
        self.count: int = file.metadata.num_rows
        self._file = file
        self._names = list(names)
        self._row = 0
        self._batches = self._all_batches()
        self._batch: tuple[int, Any] | None = None

    def pieces(self, start: int, count: int) -> Iterator[Any]:
        """The rows from `start` on, at most `count`; `start` is not before a row that was read."""
        self._row, stop = start, min(start + count, self.count)
        while self._row < stop:
            if self._batch is None or self._row >= self._batch[0] + self._batch[1].num_rows:
                self._batch = next(self._batches)
                continue
            first, batch = self._batch
            piece = batch.slice(self._row - first, stop - self._row)
            self._row += piece.num_rows
            yield piece

    def _all_batches(self) -> Iterator[tuple[int, Any]]:
        """Decoded rows with the number of the first one; those before `_row` are decoded in its row group only."""
        end = 0
        for group in range(self._file.num_row_groups):
            at, end = end, end + self._file.metadata.row_group(group).num_rows
            if self._row >= end:
                continue
            for batch in self._file.iter_batches(_BATCH, row_groups=[group], columns=self._names, use_threads=False):
                yield at, batch
                at += batch.num_rows
                if self._row >= end:
                    break


def _chunk_rows(pieces: Iterator[Any], names: _Names, path: Path, chunk: Chunk, before: int) -> Iterator[Row]:
    index = 0
    for piece in pieces:
        chunk.kept.append(piece.select(names.keep))
        yield from _rows(piece, names, path, index, before)
        index += piece.num_rows


def _rows(piece: Any, names: _Names, path: Path, index: int, before: int) -> Iterator[Row]:
    queries, documents = piece.column(names.query).to_pylist(), piece.column(names.documents).to_pylist()
    for number, (query, each) in enumerate(zip(queries, documents, strict=True), start=index):
        yield checked(number, query, each, {}, f"row {before + number} of {path.name}")
