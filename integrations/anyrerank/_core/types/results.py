"""The results of a call."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Any, cast, overload

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from anyrerank._core.types.documents import Document
from anyrerank._core.types.keyed import Keyed
from anyrerank._core.types.public import public


@public("anyrerank")
@dataclass(frozen=True, slots=True)
class RerankResult(Keyed):
    """One ranked document.

    Attributes:
        index: Index in the `documents` of the call.
        relevance_score: The provider's score, or its 0..1 form with `score_mode="unit"`; `None` for a blank document,
            and if the response is degraded.
        document: Your document: `{"text": ...}` for a string, a mapping as passed; `None` with
            `return_documents=False`.
    """

    index: int
    relevance_score: float | None
    document: Mapping[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def _names(cls) -> Iterable[str]:
        return cls.__slots__


_IN_REPR = 10


@public("anyrerank")
class Results(Sequence[RerankResult]):
    """The results of a call, best first: an immutable sequence that creates each `RerankResult` on access.

    Creating hundreds of them for a caller who reads three was the most expensive step of a call.

    Attributes:
        indexes: Index of each result in the `documents` of the call.
        scores: Score of each result.
    """

    __slots__ = ("_documents", "indexes", "scores")

    def __init__(
        self,
        indexes: Sequence[int] = (),
        scores: Sequence[float | None] = (),
        documents: Sequence[Document | None] | None = None,
    ) -> None:
        """`documents` are the documents of the results, in the same order, or `None`."""
        self.indexes = tuple(indexes)
        self.scores = tuple(scores)
        self._documents = documents

    def __len__(self) -> int:
        return len(self.indexes)

    @overload
    def __getitem__(self, index: int) -> RerankResult: ...

    @overload
    def __getitem__(self, index: slice) -> "Results": ...

    def __getitem__(self, index: int | slice) -> "RerankResult | Results":
        documents = None if self._documents is None else self._documents[index]
        if isinstance(index, slice):
            return Results(self.indexes[index], self.scores[index], cast("Sequence[Document] | None", documents))
        return RerankResult(self.indexes[index], self.scores[index], _shown(cast("Document | None", documents)))

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
    """`result` with its document as a dict: pydantic warns about other mappings, and the warning shows them."""
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
