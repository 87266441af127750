"""The answer to a call, and the attempts that led to it."""

from typing import Any

from anyrerank._core.types.keyed import Value
from anyrerank._core.types.public import public
from anyrerank._core.types.rendering import TableRow, html_table, text_table
from anyrerank._core.types.results import Results
from anyrerank._core.types.usage import Meta


@public("anyrerank")
class Attempt(Value):
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


@public("anyrerank")
class RerankResponse(Value):
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
        return text_table(self._headline(), self._rows())

    def _repr_html_(self) -> str:
        return html_table(self._headline(), self._rows())

    def _rows(self) -> list[TableRow]:
        return [(result.index, result.relevance_score, result.document) for result in self.results]

    def _headline(self) -> str:
        parts = [f"{self.provider}/{self.model}", f"{len(self.results)} results", f"{self.latency * 1000:.0f} ms"]
        if self.cost is not None:
            parts.append(f"${self.cost:.6f}")
        if self.degraded:
            parts.append("DEGRADED: incoming order, no scores")
        return " · ".join(parts)
