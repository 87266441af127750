"""The results of a call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from typing_extensions import NotRequired, TypedDict

from anyrerank._core.types.documents import Document
from anyrerank._core.types.public import public

Spans: TypeAlias = Mapping[int, Sequence[Mapping[str, Any]]]
"""For each index of a document its relevant spans: `start`, `end` (in code points) and `score`, best first."""

NO_SPANS: Spans = MappingProxyType({})
_OPTIONAL = frozenset({"document", "relevant_spans"})


@public("anyrerank")
class RerankResult(dict[str, Any]):
    """One ranked document: a dict, as in LiteLLM, whose values are also attributes.

    Attributes:
        index: Index in the `documents` of the call.
        relevance_score: The provider's score, or its 0..1 form with `score_mode="unit"`; `None` for a blank document,
            and if the response is degraded.
        document: Your document: `{"text": ...}` for a string, a mapping as passed. There is none with
            `return_documents=False`: the attribute is then `None`.
        relevant_spans: The relevant parts of the text that was ranked: a list of `{"start": ..., "end": ...,
            "score": ...}`, in code points, best first. `None` unless the option `relevant_spans` asked for them and
            there are some.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            index: int,
            relevance_score: float | None,
            document: Mapping[str, Any] | None = None,
            relevant_spans: Sequence[Mapping[str, Any]] | None = None,
        ) -> None: ...

    @property
    def index(self) -> int:
        """Index in the `documents` of the call."""
        found: int = self["index"]
        return found

    @property
    def relevance_score(self) -> float | None:
        """The score, or `None` if the document was not ranked."""
        found: float | None = self["relevance_score"]
        return found

    @property
    def document(self) -> Mapping[str, Any] | None:
        """Your document, or `None` with `return_documents=False`."""
        return self.get("document")

    @property
    def relevant_spans(self) -> Sequence[Mapping[str, Any]] | None:
        """The parts of the text that are relevant, or `None`."""
        return self.get("relevant_spans")

    def __missing__(self, key: str) -> None:
        if key not in _OPTIONAL:
            raise KeyError(key)

    def __repr__(self) -> str:
        return f"RerankResult(index={self.index}, relevance_score={self.relevance_score})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_without_none, handler.generate_schema(_Row))


class _Row(TypedDict):
    """A result, for validation."""

    index: int
    relevance_score: float | None
    document: NotRequired[Mapping[str, Any] | None]
    relevant_spans: NotRequired[list[dict[str, Any]] | None]


def _without_none(row: dict[str, Any]) -> RerankResult:
    return RerankResult(**{name: value for name, value in row.items() if value is not None or name not in _OPTIONAL})


_empty = cast("Callable[[], RerankResult]", RerankResult)
"""A result without fields: setting them takes three quarters of the time that keyword arguments take."""
_IN_REPR = 10


class Ranking:
    """The results of a call in columns, from which each `RerankResult` is created when it is read.

    Creating hundreds of them for a caller who reads none, such as an adapter, was the most expensive step of a call.

    Attributes:
        indexes: Index of each result in the `documents` of the call, best first.
        scores: Score of each result.
        spans: Relevant spans, by the index of the document.
    """

    __slots__ = ("_documents", "indexes", "scores", "spans")

    def __init__(
        self,
        indexes: Sequence[int] = (),
        scores: Sequence[float | None] = (),
        documents: Sequence[Document] | None = None,
        spans: Spans = NO_SPANS,
    ) -> None:
        """`documents` are the documents of the results, in the same order, or `None`."""
        self.indexes = tuple(indexes)
        self.scores = tuple(scores)
        self.spans = dict(spans)
        self._documents = documents

    def __len__(self) -> int:
        return len(self.indexes)

    def __iter__(self) -> Iterator[RerankResult]:
        documents = repeat(None, len(self)) if self._documents is None else self._documents
        spans = self.spans
        for index, score, document in zip(self.indexes, self.scores, documents, strict=True):
            row = _empty()
            row["index"] = index
            row["relevance_score"] = score
            if document is not None:
                row["document"] = {"text": document} if isinstance(document, str) else document
            if spans and index in spans:
                row["relevant_spans"] = spans[index]
            yield row

    def pairs(self) -> Iterator[tuple[int, float | None]]:
        """(index, score) of each result."""
        return zip(self.indexes, self.scores, strict=True)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Ranking | Results) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = [f"{index}: {score}" for index, score in islice(self.pairs(), _IN_REPR)]
        more = [f"and {len(self) - _IN_REPR} more"] if len(self) > _IN_REPR else []
        return f"Results({', '.join([*shown, *more])})"


@public("anyrerank")
class Results(list[RerankResult]):
    """The results of a call, best first: a list, as in LiteLLM.

    Attributes:
        indexes: Index of each result in the `documents` of the call.
        scores: Score of each result.
    """

    __slots__ = ()

    @property
    def indexes(self) -> tuple[int, ...]:
        """Index of each result in the `documents` of the call."""
        return tuple(result.index for result in self)

    @property
    def scores(self) -> tuple[float | None, ...]:
        """Score of each result."""
        return tuple(result.relevance_score for result in self)

    @property
    def spans(self) -> Spans:
        """Relevant spans, by the index of the document."""
        return {result.index: result.relevant_spans for result in self if result.relevant_spans}

    def pairs(self) -> Iterator[tuple[int, float | None]]:
        """(index, score) of each result."""
        return zip(self.indexes, self.scores, strict=True)

    def __repr__(self) -> str:
        return repr(Ranking(self.indexes, self.scores))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        rows = handler.generate_schema(list[RerankResult])
        return core_schema.no_info_wrap_validator_function(
            _as_results,
            rows,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda results, serialize: serialize(list(map(_dumped, results))), schema=rows
            ),
        )


def _dumped(result: RerankResult) -> RerankResult:
    """`result` with its document as a dict: pydantic warns about other mappings, and the warning shows them."""
    if result.document is None or isinstance(result.document, dict):
        return result
    return RerankResult(**{**result, "document": dict(result.document)})


def _as_results(value: Any, validate: Callable[[Any], list[RerankResult]]) -> Ranking | Results:
    if isinstance(value, Ranking | Results):
        return value
    return Results(() if value is None else validate(value))  # LiteLLM's may be None
