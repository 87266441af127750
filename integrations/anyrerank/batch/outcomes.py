"""The outcome of a row, whose fields are the columns of the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from anyrerank._core.pricing import sum_costs, total_cost
from anyrerank._core.types import Attempt, RerankResponse
from anyrerank.errors import RerankError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A row that was answered, or that failed. The fields are the columns of the output, in their order.

    Attributes:
        ranking: Indexes of the candidates, best first; `None` if it failed.
        scores: Their scores, in the same order; `None` for a candidate that is blank.
        error: Name of the error class, or `None`.
        message: What the error says. It quotes neither query nor documents.
        http_status: Status of the failed request, if there was a response.
        attempts: How many requests were sent, those that were refused with 429 included.
        cost: US dollars, or `None` if unknown.
        cost_estimated: Whether the cost is computed from estimated usage.
        saved: US dollars that cached scores cost when they were computed, or `None` if unknown.
        cached: How many scores came from a cache.
        seconds: Duration of the requests of the last try, without waiting for limits.
        deployment: `provider/model` that answered.
        request_id: The provider's id of the last request.
    """

    ranking: Sequence[int] | None = None
    scores: Sequence[float | None] | None = None
    error: str | None = None
    message: str | None = None
    http_status: int | None = None
    attempts: int = 0
    cost: float | None = 0.0
    cost_estimated: bool = False
    saved: float | None = 0.0
    cached: int = 0
    seconds: float = 0.0
    deployment: str | None = None
    request_id: str | None = None

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Outcome:
        """The outcome in a row of a part, which has more fields.

        Raises:
            KeyError: A field is missing.
        """
        return cls(**{name: found[name] for name in COLUMNS})

    def after(self, earlier: Outcome) -> Outcome:
        """This outcome, with what an earlier try of the same row cost."""
        return replace(self, attempts=self.attempts + earlier.attempts, cost=sum_costs((self.cost, earlier.cost)))


COLUMNS = tuple(field.name for field in fields(Outcome))
"""Names of the columns of the output, without those that are kept from the input."""


def answered(response: RerankResponse, attempts: Sequence[Attempt]) -> Outcome:
    """The outcome of a row that was answered.

    Args:
        response: The answer.
        attempts: Those of all tries of the row.
    """
    return Outcome(
        ranking=response.ranking.indexes,
        scores=response.ranking.scores,
        attempts=len(attempts),
        cost=total_cost(attempts),
        cost_estimated=response.cost_estimated,
        saved=response.saved,
        cached=response.cached,
        seconds=round(sum(each.seconds for each in response.attempts), 6),
        deployment=f"{response.provider}/{response.model}",
        request_id=response.request_id,
    )


def failed(error: RerankError, attempts: Sequence[Attempt] = ()) -> Outcome:
    """The outcome of a row that failed."""
    return Outcome(
        error=type(error).__name__,
        message=error.message,
        http_status=error.status_code,
        attempts=len(attempts),
        cost=total_cost(attempts),
        cost_estimated=any(attempt.estimated for attempt in attempts),
        seconds=round(attempts[-1].seconds, 6) if attempts else 0.0,
        deployment=f"{error.provider}/{error.model}" if error.provider else None,
        request_id=error.request_id,
    )
