"""`RerankBatch`: rerank inside Ray Data, Spark, Daft, Dask and Hugging Face datasets."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from typing_extensions import Unpack

from anyrerank._core.client import BaseReranker, Reranker, RerankerKeywords
from anyrerank._core.runtime import environment_variable
from anyrerank._core.types import public
from anyrerank.batch.outcomes import COLUMNS, Outcome
from anyrerank.batch.rows import IDS, QUERY, Columns, Row, checked
from anyrerank.batch.settings import limit_of
from anyrerank.batch.worker import Spec, Worker, worker
from anyrerank.errors import AuthenticationError, BadRequestError

_REFUSED: Mapping[str, str] = {
    "api_key": "would be stored by the engine in plain text: pass api_key_env= with the name of a variable instead",
    "headers": "may hold a key, which the engine would store in plain text: set up a gateway that adds them",
    "http_client": "cannot be sent to another process",
    "budget": "counts in one process only, and an engine has several: set a budget at the provider or at a gateway",
    "user_budget": "counts in one process only, and an engine has several: set a budget at a gateway",
}


@public("anyrerank.batch")
class RerankBatch:
    """A callable that adds rankings, scores, errors and costs to batches of rows. It can be pickled, without any key.

    An error is a row in the output, not a failed task. Within a process all batches share one reranker, and never send
    more than `in_flight` requests at the same time. When twenty rows in a row fail for a reason that is not their own,
    such as a refused key, the task fails.

        ray.data.read_parquet("in").map_batches(RerankBatch, fn_constructor_kwargs={"model": "voyage/rerank-2.5"}, ...)
        frame.mapInArrow(batch.in_arrow, batch.ddl(frame))  # Spark
        frame.map_partitions(batch.frame, meta=batch.meta(frame))  # Dask
        dataset.map(batch.row)  # Hugging Face

    Args:
        model: `provider/model`.
        query: Name of the query.
        documents: Name of the candidates; by default `candidates` or `documents`.
        keep: Names of the columns that are copied to the output; by default `id` or `custom_id`.
        in_flight: Maximum number of requests in flight, for each process.
        rpm, tpm: Maximum number of requests and of tokens per minute, for each process.
        max_wait: Seconds for which a row is tried again while the server is unavailable or limits the rate.
        api_key_env: Name of the environment variable that holds the key on the workers; by default that of the
            provider.
        options: Other options of `Reranker`, such as a `limit` with a `state` that all processes share; not `api_key`,
            `headers`, `http_client` and budgets.

    Raises:
        RerankError: An invalid option.
    """

    def __init__(
        self,
        model: str,
        *,
        query: str = QUERY,
        documents: str | None = None,
        keep: Sequence[str] | None = None,
        in_flight: int = 64,
        rpm: float | None = None,
        tpm: float | None = None,
        max_wait: float = 3600.0,
        api_key_env: str | None = None,
        **options: Unpack[RerankerKeywords],
    ) -> None:
        for name, why in _REFUSED.items():
            if name in options:
                raise BadRequestError(f"{name} {why}")
        self._columns = Columns(query, documents, None if keep is None else tuple(keep))
        make = partial(_made, model, api_key_env, {**options})
        self._spec = Spec(make=make, in_flight=in_flight, rpm=rpm, tpm=tpm, max_wait=max_wait)
        limit_of(rpm, tpm)
        Reranker(model, **options)  # checks the options here, not on a worker

    def __repr__(self) -> str:
        return f"RerankBatch({self._spec.make.args[0]!r})"  # type: ignore[attr-defined]

    async def __call__(self, batch: Any) -> Any:
        """For Ray Data's `map_batches`: a batch in any of its formats, which the result has too."""
        table = _table(batch)
        rows, keep = table.rows(self._columns)
        return table.result(keep, await self._worker.aoutcomes(rows))

    def in_arrow(self, batches: Iterable[Any]) -> Iterator[Any]:
        """For Spark's `mapInArrow`."""
        for batch in batches:
            yield from self._of(batch).to_batches()

    def in_pandas(self, frames: Iterable[Any]) -> Iterator[Any]:
        """For Spark's `mapInPandas`."""
        for frame in frames:
            table = _PlainFrame(frame)
            rows, keep = table.rows(self._columns)
            yield table.result(keep, self._worker.outcomes(rows))

    def frame(self, frame: Any) -> Any:
        """For Dask's `map_partitions`: a frame of pandas."""
        return self._of(frame)

    async def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """For `map` of Hugging Face datasets: the columns of one row, without those of the input."""
        documents = _first_in(self._columns.document_names, row)
        return await self._answer(row[self._columns.query], row[documents])

    def daft(self, query: Any, documents: Any) -> Any:
        """For Daft: an expression that becomes the columns of the output, without those of the input.

        Args:
            query, documents: The expressions of the query and of the candidates.
        """
        engine = importlib.import_module("daft")
        fields = {each.name: engine.DataType.from_arrow_type(each.type) for each in _arrow().SCHEMA}
        ask = engine.func(self._answer_to_daft(), return_dtype=engine.DataType.struct(fields), unnest=True)
        return ask(query, documents)

    def schema(self, of: Any) -> Any:
        """The Arrow schema of the output.

        Args:
            of: The Arrow schema of the input.
        """
        pa = importlib.import_module("pyarrow")
        kept = [of.field(name) for name in _kept(self._columns, of.names)]
        return pa.schema([*kept, *_arrow().SCHEMA])

    def ddl(self, of: Any) -> Any:
        """The schema of the output for Spark.

        Args:
            of: The Spark frame of the input.
        """
        arrow, types = importlib.import_module("pyspark.sql.pandas.types"), importlib.import_module("pyspark.sql.types")
        kept = [of.schema[name] for name in _kept(self._columns, of.columns)]
        return types.StructType([*kept, *arrow.from_arrow_schema(_arrow().SCHEMA)])

    def meta(self, of: Any) -> Any:
        """An empty frame like the output, for Dask.

        Args:
            of: The frame of the input.
        """
        empty = of._meta if hasattr(of, "_meta") else of.iloc[:0]
        return _Frame(empty).result(_kept(self._columns, list(empty.columns)), [])

    def _answer_to_daft(self) -> Callable[[Any, Any], Awaitable[dict[str, Any]]]:
        async def rerank(query: Any, documents: Any) -> dict[str, Any]:  # Daft takes functions, not bound methods
            return await self._answer(query, documents)

        return rerank

    async def _answer(self, query: Any, documents: Any) -> dict[str, Any]:
        (outcome,) = await self._worker.aoutcomes([checked(0, query, documents, {}, "a row")])
        return {name: _plain(getattr(outcome, name)) for name in COLUMNS}

    @property
    def _worker(self) -> Worker:
        return worker(self._spec)

    def _of(self, batch: Any) -> Any:
        table = _table(batch)
        rows, keep = table.rows(self._columns)
        return table.result(keep, self._worker.outcomes(rows))


@dataclass(frozen=True, slots=True)
class _Table:
    """A batch of rows, in the form in which an engine has it."""

    batch: Any

    def rows(self, columns: Columns) -> tuple[list[Row], list[str]]:
        """The rows, and the names of the columns to keep.

        Raises:
            BadRequestError: A column is missing.
        """
        names = self.names()
        documents = _first_in(columns.document_names, names)
        if columns.query not in names:
            raise _missing(columns.query, names)
        pairs = zip(self.values(columns.query), self.values(documents), strict=True)
        rows = [checked(index, query, each, {}, f"row {index}") for index, (query, each) in enumerate(pairs)]
        return rows, _kept(columns, names)

    def names(self) -> list[str]:
        return list(self.batch)

    def values(self, name: str) -> Sequence[Any]:
        found: Sequence[Any] = self.batch[name]
        return found

    def result(self, keep: Sequence[str], outcomes: Sequence[Outcome]) -> Any:
        columns = {name: [_plain(getattr(each, name)) for each in outcomes] for name in COLUMNS}
        return {**{name: self.batch[name] for name in keep}, **columns}


class _ArrowTable(_Table):
    def names(self) -> list[str]:
        return list(self.batch.schema.names)

    def values(self, name: str) -> Sequence[Any]:
        found: Sequence[Any] = self.batch.column(name).to_pylist()
        return found

    def result(self, keep: Sequence[str], outcomes: Sequence[Outcome]) -> Any:
        table = _columns(outcomes)
        for index, name in enumerate(keep):
            table = table.add_column(index, self.batch.schema.field(name), self.batch.column(name))
        return table


class _PlainFrame(_Table):
    """A frame whose columns hold plain objects, as Spark converts them by the schema that it was given."""

    def result(self, keep: Sequence[str], outcomes: Sequence[Outcome]) -> Any:
        pandas = importlib.import_module("pandas")
        columns = {
            name: pandas.Series([_plain(getattr(each, name)) for each in outcomes], self.batch.index, dtype=object)
            for name in COLUMNS
        }
        return self.batch[list(keep)].assign(**columns)


class _Frame(_Table):
    """A frame whose columns have the types of Arrow, so that those of all partitions are the same."""

    def result(self, keep: Sequence[str], outcomes: Sequence[Outcome]) -> Any:
        pandas = importlib.import_module("pandas")
        columns = _columns(outcomes).to_pandas(types_mapper=pandas.ArrowDtype)
        columns.index = self.batch.index
        return pandas.concat([self.batch[list(keep)], columns], axis=1)


def _table(batch: Any) -> _Table:
    """The batch as a table: Arrow's, a frame of pandas, or a mapping of columns."""
    if hasattr(batch, "schema") and hasattr(batch, "column"):
        return _ArrowTable(batch)
    return _Frame(batch) if hasattr(batch, "iloc") else _Table(batch)


def _columns(outcomes: Sequence[Outcome]) -> Any:
    """The columns of the output as an Arrow table."""
    return _arrow().table_of([orjson.dumps(each) for each in outcomes])


def _arrow() -> Any:
    return importlib.import_module("anyrerank.batch.parquet")


def _first_in(names: Sequence[str], there: Iterable[str]) -> str:
    found = set(there)
    name = next((name for name in names if name in found), None)
    if name is None:
        raise _missing(" or ".join(names), found)
    return name


def _kept(columns: Columns, there: Sequence[str]) -> list[str]:
    if columns.keep is None:
        return [name for name in IDS if name in there]
    if missing := [name for name in columns.keep if name not in there]:
        raise _missing(", ".join(missing), there)
    return list(columns.keep)


def _missing(names: str, there: Iterable[str]) -> BadRequestError:
    return BadRequestError(f"there is no column {names}; the columns: {', '.join(sorted(map(str, there)))[:500]}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _made(model: str, api_key_env: str | None, options: dict[str, Any]) -> BaseReranker:
    """The reranker of a process.

    Raises:
        AuthenticationError: The environment variable is not set.
    """
    key: Mapping[str, Any] = {}
    if api_key_env is not None:
        value = environment_variable(api_key_env)
        if value is None:
            raise AuthenticationError(f"the environment variable {api_key_env} is not set on this worker")
        key = {"api_key": value}
    return Reranker(model, **options, **key)
