"""The estimated cost of a comparison, shown and checked against the budget before the first call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from anyrerank._core.pricing import Budget
from anyrerank.errors import BudgetExceededError, ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Calls and cost of every reranker.

    Attributes:
        calls: Number of calls by reranker.
        costs: Estimated US dollars by reranker; `None` where the price is unknown.
    """

    calls: Mapping[str, int]
    costs: Mapping[str, float | None]

    def __str__(self) -> str:
        each = [f"{name} {count} ({_dollars(self.costs[name])})" for name, count in self.calls.items()]
        unknown = " plus unknown prices" if self._unpriced() else ""
        return f"{sum(self.calls.values())} calls, estimated cost {_dollars(self._total())}{unknown}: {', '.join(each)}"

    def check(self, budget: Budget) -> None:
        """Check that the calls fit into the budget.

        Raises:
            ConfigurationError: The price of a reranker is unknown.
            BudgetExceededError: The calls would cost more than the budget.
        """
        if unpriced := self._unpriced():
            raise ConfigurationError(
                f"budget_usd needs a known price for every reranker, and {', '.join(unpriced)} has none: set "
                "Reranker(..., input_cost_per_query=...), or on the command line --option input_cost_per_query=..."
            )
        if self._total() > budget.dollars:
            raise BudgetExceededError(
                f"the estimated cost of {_dollars(self._total())} exceeds budget_usd ({_dollars(budget.dollars)}); "
                "nothing was sent"
            )

    def _total(self) -> float:
        return math.fsum(cost for cost in self.costs.values() if cost is not None)

    def _unpriced(self) -> list[str]:
        return [name for name, cost in self.costs.items() if cost is None]


def _dollars(cost: float | None) -> str:
    return "price unknown" if cost is None else f"${cost:.4f}"
