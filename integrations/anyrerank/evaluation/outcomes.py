"""`Outcome`: the result of one query at one reranker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyrerank._core.types import public


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one query at one reranker.

    Attributes:
        ranking: Ids of the candidates, best first. After a failure, the order of the first stage.
        scores: The scores of `ranking`; empty for a reference or after a failure.
        latency: Seconds that the call took; `None` for a reference or after a failure.
        cost: US dollars; `None` if unknown.
        error: Name of the error class if the call failed, else `None`.
        message: The message of that error, with status and URL, else `None`.
        search_units, total_tokens: What was billed; `None` if unknown.
    """

    ranking: Sequence[str]
    scores: Sequence[float | None] = ()
    latency: float | None = None
    cost: float | None = None
    error: str | None = None
    message: str | None = None
    search_units: float | None = None
    total_tokens: float | None = None


Outcomes = Mapping[str, Outcome]
"""Outcomes by query."""


def rankings_of(outcomes: Outcomes) -> dict[str, Sequence[str]]:
    """The ranking of each query."""
    return {query: outcome.ranking for query, outcome in outcomes.items()}


def any_succeeded(outcomes: Outcomes) -> bool:
    """Whether any call was answered."""
    return any(outcome.error is None for outcome in outcomes.values())
