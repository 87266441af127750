"""What calls cost, and budgets."""

from anyrerank._core.pricing.budget import Budget, dollars_text, seconds_of, summed
from anyrerank._core.pricing.budget_state import (
    Balance,
    BudgetState,
    HasBudgets,
    Hold,
    RefusedError,
    SharedAccount,
    billionths,
)
from anyrerank._core.pricing.costs import (
    MAYBE_BILLED,
    AttemptCost,
    attempt_cost,
    estimate_cost,
    expected_units,
    sum_costs,
    total_cost,
)
from anyrerank._core.pricing.prices import FREE, Price, PriceFile, list_price, list_prices, price_dates, read_prices
from anyrerank._core.pricing.spending import Payer, Spending, charged, reserved

__all__ = [
    "FREE",
    "MAYBE_BILLED",
    "AttemptCost",
    "Balance",
    "Budget",
    "BudgetState",
    "HasBudgets",
    "Hold",
    "Payer",
    "Price",
    "PriceFile",
    "RefusedError",
    "SharedAccount",
    "Spending",
    "attempt_cost",
    "billionths",
    "charged",
    "dollars_text",
    "estimate_cost",
    "expected_units",
    "list_price",
    "list_prices",
    "price_dates",
    "read_prices",
    "reserved",
    "seconds_of",
    "sum_costs",
    "summed",
    "total_cost",
]
