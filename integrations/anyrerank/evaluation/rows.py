"""The rows of a report: the means, latency, cost and failures of one ranking."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyrerank._core.pricing import sum_costs
from anyrerank._core.types import public
from anyrerank.evaluation.outcomes import Outcomes
from anyrerank.evaluation.references import REFERENCES
from anyrerank.evaluation.significance import Difference, interval


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One ranking in a report.

    Attributes:
        name: Name of the reranker, or `first_stage`, `random` or `oracle`.
        means: Mean of each measure over the evaluated queries; empty if every call failed.
        low, high: 95% bootstrap interval of the mean of the first measure.
        difference: Difference to the baseline on the first measure; `None` for the baseline and for references.
        p50, p95: Latency percentiles of the calls that succeeded, in seconds; `None` without such calls.
        usd_per_1000: US dollars for 1,000 queries; `None` if unknown.
        calls: Number of queries.
        failures: Number of failed queries by error class.
        message: Message of the first error, or `None`.
        judged: Share of the top `k` documents that have a label.
    """

    name: str
    means: Mapping[str, float]
    low: float
    high: float
    difference: Difference | None
    p50: float | None
    p95: float | None
    usd_per_1000: float | None
    calls: int
    failures: Mapping[str, int]
    message: str | None
    judged: float

    @property
    def failed(self) -> bool:
        """Whether every call failed, so that there is nothing to measure."""
        return 0 < self.calls == sum(self.failures.values())

    @property
    def is_reference(self) -> bool:
        """Whether this is a reference row (`first_stage`, `random` or `oracle`)."""
        return self.name in REFERENCES

    def flat(self) -> dict[str, Any]:
        """The row as plain columns, for JSON and pandas."""
        gap = self.difference
        return {
            "name": self.name,
            **self.means,
            "low": None if self.failed else self.low,
            "high": None if self.failed else self.high,
            "difference": gap and gap.mean,
            "difference_low": gap and gap.low,
            "difference_high": gap and gap.high,
            "p_value": gap and gap.p_value,
            "significant": gap and gap.significant,
            "p50_ms": self.p50 and 1000 * self.p50,
            "p95_ms": self.p95 and 1000 * self.p95,
            "usd_per_1000": self.usd_per_1000,
            "calls": self.calls,
            "failures": sum(self.failures.values()),
            "message": self.message,
            "judged": self.judged,
        }


def summarise(
    name: str,
    outcomes: Outcomes,
    scores: Mapping[str, Mapping[str, float]],
    difference: Difference | None,
    judged: float,
) -> Row:
    """Summarise the outcomes of one ranking, scored by measure and query, as a row; without scores if all failed."""
    low, high = interval(list(next(iter(scores.values()), {}).values()))
    succeeded = [outcome for outcome in outcomes.values() if outcome.error is None]
    latencies = sorted(outcome.latency for outcome in succeeded if outcome.latency is not None)
    cost = sum_costs(outcome.cost for outcome in succeeded)
    return Row(
        name=name,
        means={measure: _mean(list(by_query.values())) for measure, by_query in scores.items()},
        low=low,
        high=high,
        difference=difference,
        p50=_quantile(latencies, 0.50),
        p95=_quantile(latencies, 0.95),
        usd_per_1000=1000 * cost / len(succeeded) if succeeded and cost is not None else None,
        calls=len(outcomes),
        message=next((outcome.message for outcome in outcomes.values() if outcome.error is not None), None),
        failures=Counter(outcome.error for outcome in outcomes.values() if outcome.error is not None),
        judged=judged,
    )


def dollars(amount: float) -> str:
    """US dollars with cents, or with two significant digits if that is a small amount: only a free one is $0.00."""
    if not 0 < amount < 0.1:
        return f"${amount:.2f}"
    return f"${amount:.{1 - math.floor(math.log10(amount))}f}"


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers) if numbers else 0.0


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The quantile by the nearest-rank method."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
