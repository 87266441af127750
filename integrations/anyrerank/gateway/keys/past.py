"""What was spent before a restart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from anyrerank._core.client import Router, deployments_of
from anyrerank._core.pricing import Budget
from anyrerank.ledger import By, Ledger


class Past:
    """What was spent before, as the ledger knows it; each question is asked once.

    Args:
        ledger: The ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._found: dict[tuple[By, float], Mapping[str | None, float]] = {}

    def of_tag(self, tag: str, budget: Budget | None) -> float:
        """US dollars of calls with a tag, in the current window of a budget, or in all time."""
        return self._spent("tag", budget).get(tag, 0.0)

    def of_user(self, user: str, budget: Budget | None) -> float:
        """US dollars of calls of an end user."""
        return self._spent("user", budget).get(user, 0.0)

    def restore(self, router: Router) -> None:
        """Count what was spent before in the budgets of a router and of its deployments."""
        options = router.options
        for budget in options.shared_budgets:
            budget.add(self._ledger.total(since=_since(budget.started)))
        if options.user_budget is not None:
            for user, dollars in self._spent("user", options.user_budget).items():
                if user is not None:
                    options.user_budget.add(dollars, user)
        for _, deployment in deployments_of(router):
            if deployment.budget is not None:
                spent = self._spent("deployment", deployment.budget)
                deployment.budget.add(spent.get(deployment.model_id or deployment.name, 0.0))

    def _spent(self, by: By, budget: Budget | None) -> Mapping[str | None, float]:
        started = 0.0 if budget is None else budget.started
        if (by, started) not in self._found:
            rows = self._ledger.spend(by=by, since=_since(started))
            self._found[by, started] = {row.group[by]: row.cost or 0.0 for row in rows}
        return self._found[by, started]


def _since(started: float) -> datetime | None:
    return datetime.fromtimestamp(started, timezone.utc) if started else None
