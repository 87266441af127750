"""The response to a call, with its attempts."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticSerializationError

from anyrerank._core.types.answer import Scale
from anyrerank._core.types.keyed import KeyedModel
from anyrerank._core.types.public import public
from anyrerank._core.types.rendering import TableRow, html_table, text_table
from anyrerank._core.types.results import Ranking, Results
from anyrerank._core.types.surrogates import repaired_tree
from anyrerank._core.types.usage import Meta


@public("anyrerank")
class Attempt(KeyedModel):
    """One attempt to send a request.

    Attributes:
        deployment: `provider/model`.
        status: HTTP status, or `None` without a response or without HTTP.
        error: Name of the error class, or `None` if it succeeded.
        seconds: Duration.
        started: Start, in seconds since the epoch.
        cost: US dollars, or `None` if unknown or not `billed`.
        estimated: Whether the cost is computed from estimated usage.
        model_id: `model_info.id` of the entry in the `model_list` of a router.
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
        """Whether the provider did the work: its status was 2xx, even if the response could not be used."""
        return self.error is None if self.status is None else 200 <= self.status < 300


def _new_id() -> str:
    return f"rerank-{uuid.uuid4().hex}"


@public("anyrerank")
class RerankResponse(KeyedModel):
    """The response to a call.

    Attributes:
        id: The provider's id, or a generated one (`rerank-...`).
        results: Best first, equal scores in input order, blank documents last. Created when they are first read.
        meta: Usage as reported by the provider, or an estimate that is marked as one.
        model: The model that answered, without the provider.
        provider: Prefix of the provider that answered.
        cost: US dollars of all billed attempts, or `None` if the price of one is unknown.
        cost_estimated: Whether the cost is computed from estimated usage.
        latency: Duration of the call in seconds, including retries and waits.
        attempts: Every attempt to send a request, in the order in which they ended.
        request_id: The provider's id of the last request, for a question to its support.
        score_scale: `"unit"` for scores from 0 to 1, `"logit"`, or `"unknown"`, as for fused scores.
        degraded: Whether the results are in the incoming order, without scores, because nothing was ranked.
        model_group: The name that a router was asked for; `None` without a router.
        model_id: `model_info.id` of the router's entry that answered.
        cached: How many scores came from the cache, or from an identical concurrent request.
        saved: US dollars that the cache saved, or `None` if unknown: what the `cached` scores cost when they were
            computed; where each search has a price, at most what the call would have cost more without the cache.
    """

    id: Annotated[str, BeforeValidator(lambda value: value or _new_id())] = Field(default_factory=_new_id)
    results: Results = Field(default_factory=Results)
    meta: Annotated[Meta, BeforeValidator(lambda value: Meta() if value is None else value)] = Field(
        default_factory=Meta
    )
    model: str = ""
    provider: str = ""
    cost: float | None = None
    cost_estimated: bool = False
    latency: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    request_id: str | None = None
    score_scale: Scale = "unknown"
    degraded: bool = False
    model_group: str | None = None
    model_id: str | None = None
    cached: int = 0
    saved: float | None = 0.0

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str | None = None,  # noqa: A002  as in LiteLLM
            results: Ranking | Iterable[Mapping[str, Any]] | None = None,
            meta: Meta | Mapping[str, Any] | None = None,
            **others: Any,
        ) -> None: ...

    @property
    def answered_by(self) -> str | None:
        """`provider/model` that ranked the documents, or `None` if the response is degraded."""
        return None if self.degraded else f"{self.provider}/{self.model}"

    @property
    def ranking(self) -> Ranking | Results:
        """Indexes and scores, without creating a `RerankResult` for each."""
        found: Ranking | Results = self.__dict__["results"]
        return found

    @property
    def _hidden_params(self) -> dict[str, Any]:
        """What LiteLLM's responses have under this name: `response._hidden_params["response_cost"]`."""
        return {"response_cost": self.cost, "custom_llm_provider": self.provider, "model_id": self.model_id}

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]  # as pydantic's
        """Name and value of each field."""
        return iter([(name, getattr(self, name)) for name in type(self).model_fields])

    def model_dump_json(self, **options: Any) -> str:
        """The response as JSON, see pydantic; unpaired surrogates in documents become U+FFFD."""
        try:
            return super().model_dump_json(**options)
        except PydanticSerializationError:
            whole = type(self).model_validate(repaired_tree(self.model_dump()))
            return super(RerankResponse, whole).model_dump_json(**options)

    def to_cohere(self) -> dict[str, Any]:
        """The response in the JSON format of Cohere's v1 API and LiteLLM's `/rerank`: plain dicts without `None`."""
        results: list[dict[str, Any]] = []
        for result in self.ranking:
            document = {} if result.document is None else {"document": dict(result.document)}
            results.append({**result, **document})
        answer: dict[str, Any] = {"id": self.id, "results": results}
        if meta := {name: value for name, value in self.meta.items() if name != "estimated"}:
            answer["meta"] = meta
        return answer

    def __str__(self) -> str:
        return text_table(self._headline(), self._rows())

    def _repr_html_(self) -> str:
        return html_table(self._headline(), self._rows())

    def _rows(self) -> list[TableRow]:
        return [(result.index, result.relevance_score, result.document) for result in self.ranking]

    def _headline(self) -> str:
        parts = [f"{self.provider}/{self.model}", f"{len(self.ranking)} results", f"{self.latency * 1000:.0f} ms"]
        if self.cost is not None:
            parts.append(f"${self.cost:.6f}")
        if self.degraded:
            parts.append("DEGRADED: incoming order, no scores")
        return " · ".join(parts)


def _results(response: RerankResponse) -> Results:
    found = response.ranking
    if isinstance(found, Ranking):
        found = response.__dict__["results"] = Results(found)
    return found


if not TYPE_CHECKING:
    RerankResponse.results = property(_results)  # after pydantic has made the field, whose value it replaces
