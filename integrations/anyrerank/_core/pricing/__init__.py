"""What calls cost, and budgets."""

from anyrerank._core.pricing.budget import Budget, Spending, charged, seconds_of
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

__all__ = [
    "FREE",
    "MAYBE_BILLED",
    "Budget",
    "Price",
    "PriceFile",
    "Spending",
    "Spent",
    "charged",
    "estimated",
    "list_prices",
    "listed",
    "price_dates",
    "read",
    "seconds_of",
    "spent",
    "together",
    "total",
]
