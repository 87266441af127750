"""A report for the tests: a good reranker, a bad one that is slow and fails, and one that changes nothing."""

from __future__ import annotations

from typing import Any

from anyrerank.evaluation import Dataset, Outcome, Report
from anyrerank.evaluation.references import references

COUNT = 40
DATA = Dataset(
    name="made <up>",
    queries={f"q{number}": f"<b>query</b> {number}" for number in range(COUNT)},
    documents={f"d{number}": f"<i>text</i> & {number}" for number in range(6)},
    labels={f"q{number}": {"d0": 2, "d1": 1, "d2": 0} for number in range(COUNT - 4)},
    candidates={f"q{number}": [f"d{each}" for each in (3, 1, 4, 0, 5, 2)] for number in range(COUNT)},
)


def outcomes(*order: int, latency: float = 0.02, cost: float | None = 0.001, failures: int = 0) -> dict[str, Outcome]:
    """The same order for every query; the first `failures` queries fail."""
    good = Outcome([f"d{each}" for each in order], [1.0] * len(order), latency, cost)
    failed = Outcome(DATA.candidates["q0"], error="RateLimitError")
    return {query: failed if index < failures else good for index, query in enumerate(DATA.queries)}


def make_report(**options: Any) -> Report:
    rerankers = {
        "good": outcomes(0, 1, 2, 3, 4, 5),
        "bad & slow": outcomes(5, 4, 3, 2, 1, 0, latency=0.2, cost=None, failures=3),
        "free": outcomes(3, 1, 4, 0, 5, 2, cost=0.0),
    }
    return Report.from_outcomes(DATA, {**references(DATA), **rerankers}, **{"k": 5, **options})
