"""Parquet, in and out (`pip install 'anyrerank[batch]'`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from anyrerank.batch.formats import Chunk, Mark, Sample
from anyrerank.batch.outcomes import COLUMNS, Outcome
from anyrerank.batch.rows import IDS, Columns, Row, checked
from anyrerank.errors import BadRequestError, MissingExtraError

try:
    import pyarrow as pa
    from pyarrow import parquet as pq
except ImportError as error:
    raise MissingExtraError(f"pyarrow cannot be imported ({error}): pip install 'anyrerank[batch]'") from error

_BATCH = 200
_BUFFER = 1 << 20
_TYPES = {
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


class Parquet:
    """Parquet files. Memory does not depend on the size of a row group."""

    suffix = ".parquet"

    def sample(self, path: Path, columns: Columns, limit: int) -> Sample:
        """The first rows, and how many there are."""
        with _opened(path) as file:
            names = _Names(file, path, columns)
            pieces = _pieces(file, names.all, limit, lambda number: number == 0)
            rows = chain.from_iterable(_rows(piece, names, path, 0, 0) for _, piece in pieces)
            return Sample(list(islice(rows, limit)), file.metadata.num_rows, is_exact=True)

    def chunks(
        self, path: Path, columns: Columns, size: int, wanted: Callable[[int], bool], marks: Mapping[int, Mark]
    ) -> Iterator[Chunk]:
        """The wanted chunks; row groups without any are not read."""
        with _opened(path) as file:
            names = _Names(file, path, columns)
            for number, pieces in groupby(_pieces(file, names.all, size, wanted), key=itemgetter(0)):
                chunk = Chunk(number, iter(()))
                chunk.rows = _chunk_rows(map(itemgetter(1), pieces), names, path, chunk, number * size)
                yield chunk

    def write(self, file: BinaryIO, kept: Sequence[Any], outcomes: Sequence[Outcome]) -> None:
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


def table_of(outcomes: Sequence[Outcome]) -> Any:
    """The columns as an Arrow table."""
    return pa.table(
        {name: pa.array([getattr(each, name) for each in outcomes], type_) for name, type_ in _TYPES.items()}
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


def _pieces(file: Any, names: Sequence[str], size: int, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Any]]:
    """Batches of rows, cut at the borders of chunks, with the number of the chunk."""
    after = 0
    for group in range(file.num_row_groups):
        at, after = after, after + file.metadata.row_group(group).num_rows
        if not any(map(wanted, range(at // size, -(-after // size)))):
            continue
        for batch in file.iter_batches(_BATCH, row_groups=[group], columns=list(names), use_threads=False):
            done = 0
            while done < batch.num_rows:
                number, place = divmod(at, size)
                piece = batch.slice(done, size - place)
                if wanted(number):
                    yield number, piece
                done, at = done + piece.num_rows, at + piece.num_rows


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
