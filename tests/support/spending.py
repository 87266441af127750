"""Spending from budgets as a call does."""

from __future__ import annotations

from anyrerank import Budget, BudgetExceededError
from anyrerank._core.pricing.spending import Spending, reserved
from anyrerank._core.runtime import run


def pay(budget: Budget, dollars: float, *others: Budget) -> Spending:
    return run(reserved([(each, None) for each in (budget, *others)], dollars))


def spends(budget: Budget, dollars: float) -> bool:
    try:
        pay(budget, dollars).settle(dollars)
    except BudgetExceededError:
        return False
    return True
