"""The values that go in and come out: frozen, typed, and nothing else.

Requests and single results are plain frozen dataclasses, because a call makes hundreds of them and validates them
itself; what a caller keeps and dumps (`RerankResponse`, `Meta`) is pydantic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Any, TypeAlias, cast, overload

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Document: TypeAlias = str | Mapping[str, Any]
"""A string, or a mapping with a `text` (and whatever else the caller wants back)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """What one provider is asked to rank in one exchange.

    Attributes:
        query: Not blank.
        documents: Not empty, none of them blank.
        top_n: How many results are needed, between 1 and the number of documents, or `None` for all of them.
        rank_fields: Fields of mapping documents to rank on, in order.
        options: The provider's own options: every name is declared by it, no value is `None`.
        extra_body: Merged into the request's JSON as it is.
    """

    query: str = field(repr=False)
    documents: Sequence[Document] = field(repr=False)
    top_n: int | None = None
    rank_fields: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)


class _Keyed:
    """Access by key, as LiteLLM's answers have it: `response["results"]`, `result.get("document")`, `{**result}`.

    What is `None` is not there for `in` and `get`, as it would not be in LiteLLM's.
    """

    __slots__ = ()

    @classmethod
    def _names(cls) -> Iterable[str]:
        raise NotImplementedError

    def keys(self) -> list[str]:
        """The names of all that it has."""
        return list(self._names())

    def get(self, key: str, default: Any = None) -> Any:
        """What has this name, or `default` where there is nothing."""
        value = getattr(self, key) if key in self._names() else None
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __getitem__(self, key: str) -> Any:
        if key not in self._names():
            raise KeyError(key)
        return getattr(self, key)


@dataclass(frozen=True, slots=True)
class RerankResult(_Keyed):
    """One ranked document.

    Attributes:
        index: Position in the caller's `documents`.
        relevance_score: The provider's number (or its 0..1 form with `score_mode="unit"`); `None` for a blank
            document, which is never sent, and when the call was degraded.
        document: The caller's own document: `{"text": ...}` for a string, a mapping as it was given; `None` with
            `return_documents=False`.
    """

    index: int
    relevance_score: float | None
    document: Mapping[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def _names(cls) -> Iterable[str]:
        return cls.__slots__


_IN_REPR = 10


class Results(Sequence[RerankResult]):
    """The results of a call, best first: an immutable sequence that makes a `RerankResult` when one is looked at.

    Making hundreds of them for a caller who reads three was the dearest step of a call.

    Attributes:
        indexes: Position of each result in the caller's documents.
        scores: Score of each result.
    """

    __slots__ = ("_documents", "indexes", "scores")

    def __init__(
        self,
        indexes: Sequence[int] = (),
        scores: Sequence[float | None] = (),
        documents: Sequence[Document | None] | None = None,
    ) -> None:
        """`documents` are those of `indexes`, one for each, or `None` for results without."""
        self.indexes = tuple(indexes)
        self.scores = tuple(scores)
        self._documents = documents

    def __len__(self) -> int:
        return len(self.indexes)

    @overload
    def __getitem__(self, place: int) -> RerankResult: ...

    @overload
    def __getitem__(self, place: slice) -> Results: ...

    def __getitem__(self, place: int | slice) -> RerankResult | Results:
        documents = None if self._documents is None else self._documents[place]
        if isinstance(place, slice):
            return Results(self.indexes[place], self.scores[place], cast("Sequence[Document] | None", documents))
        return RerankResult(self.indexes[place], self.scores[place], _shown(cast("Document | None", documents)))

    def __iter__(self) -> Iterator[RerankResult]:
        shown = repeat(None) if self._documents is None else map(_shown, self._documents)
        return map(RerankResult, self.indexes, self.scores, shown)

    def pairs(self) -> Iterator[tuple[int, float | None]]:
        """(index, score) of each result."""
        return zip(self.indexes, self.scores, strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = [f"{index}: {score}" for index, score in islice(self.pairs(), _IN_REPR)]
        more = [f"and {len(self) - _IN_REPR} more"] if len(self) > _IN_REPR else []
        return f"Results({', '.join([*shown, *more])})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        rows = handler.generate_schema(tuple[RerankResult, ...])
        return core_schema.no_info_wrap_validator_function(
            _as_results,
            rows,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda results, serialize: serialize(tuple(map(_dumped, results))), schema=rows
            ),
        )


def _dumped(result: RerankResult) -> RerankResult:
    """`result` with its document as a dict, for pydantic warns of other mappings, and quotes them."""
    if result.document is None or isinstance(result.document, dict):
        return result
    return RerankResult(result.index, result.relevance_score, dict(result.document))


def _as_results(value: Any, validate: Callable[[Any], tuple[RerankResult, ...]]) -> Results:
    if isinstance(value, Results):
        return value
    rows = validate(value)
    return Results([r.index for r in rows], [r.relevance_score for r in rows], [r.document for r in rows])


def _shown(document: Document | None) -> Mapping[str, Any] | None:
    return {"text": document} if isinstance(document, str) else document


class _Value(_Keyed, BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def _names(cls) -> Iterable[str]:
        return cls.model_fields


class BilledUnits(_Value):
    """What the provider says it bills for; a number it did not give is `None`."""

    search_units: int | float | None = None
    total_tokens: int | float | None = None


class Tokens(_Value):
    """Tokens the provider says it read and wrote."""

    input_tokens: int | float | None = None
    output_tokens: int | float | None = None


class Meta(_Value):
    """Usage and remarks. `estimated` is true when a number was computed here because the provider gives none."""

    api_version: Mapping[str, Any] | None = None
    billed_units: BilledUnits | None = None
    tokens: Tokens | None = None
    warnings: tuple[str, ...] = ()
    estimated: bool = False


class Attempt(_Value):
    """One try of one exchange: where it went, how it ended, how long it took.

    Attributes:
        deployment: `provider/model` that was asked.
        status: HTTP status, or `None` when there was no answer (or no HTTP).
        error: Name of the error class, or `None` when the try succeeded.
        seconds: Time it took.
        started: When it began, in seconds since 1970.
        cost: US dollars it cost, or `None` when that is not known, or when it was not `billed`.
        estimated: Whether the cost rests on an estimate of what was used.
        model_id: Which entry of a router's `model_list` it was, by its `model_info.id`.
    """

    deployment: str
    status: int | None = None
    error: str | None = None
    seconds: float
    started: float = 0.0
    cost: float | None = None
    estimated: bool = False
    model_id: str | None = None

    @property
    def billed(self) -> bool:
        """Whether the provider did the work: it answered well, whether the answer could be used or not."""
        return self.error is None if self.status is None else 200 <= self.status < 300


class RerankResponse(_Value):
    """The answer to a call: results best first, equal scores in input order, blank documents last.

    Attributes:
        id: The provider's id for the call, or one made here (`rerank-...`).
        results: Best first.
        meta: Usage: only numbers that the provider gave, or an estimate that is marked as one.
        model: The model as the caller named it, without the provider.
        provider: Prefix of the provider that answered.
        cost: US dollars of every try that was billed, or `None` when the price of one is not known.
        cost_estimated: Whether the cost rests on an estimate, because a provider did not say what it used.
        latency: Seconds the whole call took, waiting and retries included.
        attempts: Every exchange that was tried, in the order in which it ended.
        request_id: The provider's id of the (last) request, to quote in a support ticket.
        degraded: True when the reranker failed and `on_error="passthrough"` handed back the incoming order.
        model_group: The name that a router was asked for, or `None` without a router.
        model_id: Which entry of the router's `model_list` answered.
        cached: How many documents have a score that was not paid for now: kept in the cache, or just computed for an
            equal call beside this one.
        saved: US dollars that the `cached` scores cost when they were computed, or `None` when that is not known.
    """

    id: str
    results: Results
    meta: Meta = Meta()
    model: str
    provider: str
    cost: float | None = None
    cost_estimated: bool = False
    latency: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    request_id: str | None = None
    degraded: bool = False
    model_group: str | None = None
    model_id: str | None = None
    cached: int = 0
    saved: float | None = 0.0

    def to_cohere(self) -> dict[str, Any]:
        """The answer as the JSON that Cohere's v1 API and LiteLLM's `/rerank` give (plain dicts, `None`s left out)."""
        results: list[dict[str, Any]] = []
        for result in self.results:
            row: dict[str, Any] = {"index": result.index, "relevance_score": result.relevance_score}
            if result.document is not None:
                row["document"] = dict(result.document)
            results.append(row)
        answer: dict[str, Any] = {"id": self.id, "results": results}
        meta = self.meta.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        meta.pop("estimated", None)
        if meta:
            answer["meta"] = meta
        return answer

    def __str__(self) -> str:
        from anyrerank._core.types.rendering import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from anyrerank._core.types.rendering import as_html

        return as_html(self)
