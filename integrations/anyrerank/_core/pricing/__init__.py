"""What calls cost, and budgets."""

from anyrerank._core.pricing.budget import Budget, seconds_of
from anyrerank._core.pricing.budget_state import (
    Balance,
    BudgetState,
    HasBudgets,
    Hold,
    RefusedError,
    SharedAccount,
    billionths,
)
from anyrerank._core.pricing.prices import (
    FREE,
    MAYBE_BILLED,
    Price,
    PriceFile,
    Spent,
    estimated,
    list_prices,
    listed,
    price_dates,
    read,
    spent,
    together,
    total,
)
from anyrerank._core.pricing.spending import Payer, Spending, charged, reserved

__all__ = [
    "FREE",
    "MAYBE_BILLED",
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
    "Spent",
    "billionths",
    "charged",
    "estimated",
    "list_prices",
    "listed",
    "price_dates",
    "read",
    "reserved",
    "seconds_of",
    "spent",
    "together",
    "total",
]
