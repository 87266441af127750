"""Reserving the cost of a call in its budgets, and settling it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from anyrerank._core.pricing.budget import Budget, Reservation
from anyrerank._core.pricing.budget_state import Balance, BudgetState, Hold, RefusedError
from anyrerank._core.pricing.costs import certain_cost
from anyrerank._core.runtime import Flow
from anyrerank._core.types import Attempt, RerankRequest
from anyrerank.errors import RerankError

T = TypeVar("T")

Payer: TypeAlias = tuple[Budget, str | None]
"""A budget, and whose spending it limits; `None` for everyone's."""


@dataclass(slots=True)
class Spending:
    """The reservations of a call.

    Attributes:
        reservations: In budgets of this process.
        held: In shared states, each with the budgets that count there.
    """

    reservations: list[Reservation] = field(default_factory=list)
    held: list[tuple[BudgetState, Hold, Sequence[Payer]]] = field(default_factory=list)

    def settle(self, cost: float | None) -> None:
        """Count what the call cost; `None`, if that is unknown, counts the estimate."""
        for reservation in self.reservations:
            reservation.settle(cost)
        for state, hold, payers in self.held:
            dollars = hold.dollars if cost is None else cost
            state.settle(hold, dollars)
            for budget, spender in payers:
                if spender is None:
                    seen = budget.known
                    budget.update_known(Balance(seen.spent + dollars, max(0.0, seen.reserved - hold.dollars)))


def reserved(payers: Sequence[Payer], dollars: float) -> Flow[Spending]:
    """Reserve dollars in each budget, or in none.

    Raises:
        BudgetExceededError: One has too little left.
        StateUnavailableError: The state of one cannot be reached.
    """
    spending = Spending()
    try:
        for budget, spender in payers:
            if budget.shared_in is None:
                spending.reservations.append(budget.reserve(dollars, spender))
        for state in {id(each): each for budget, _ in payers if (each := budget.shared_in) is not None}.values():
            mine = [payer for payer in payers if payer[0].shared_in is state]
            spending.held.append((state, (yield from _held(state, mine, dollars)), mine))
    except BaseException:
        spending.settle(0.0)
        raise
    return spending


def _held(state: BudgetState, payers: Sequence[Payer], dollars: float) -> Flow[Hold]:
    try:
        hold = yield from state.reserve([budget.account(spender) for budget, spender in payers], dollars)
    except RefusedError as refused:
        budget, spender = payers[refused.index]
        if spender is None:
            budget.update_known(refused.found)
        raise budget.exceeded(refused.found, dollars, spender) from None
    for (budget, spender), found in zip(payers, hold.found, strict=True):
        if spender is None:
            budget.update_known(found)
    return hold


def charged(
    flow: Flow[T],
    settle: Callable[[float | None], None],
    attempts: Sequence[Attempt],
    in_flight: Mapping[object, RerankRequest],
    estimate: Callable[[RerankRequest], float],
) -> Flow[T]:
    """Run `flow`, then call `settle` with the cost of its attempts, or with `None` if that is unknown.

    Args:
        flow: Sends requests.
        settle: Called with US dollars.
        attempts: The attempts of the call, to which the flow adds its own.
        in_flight: Requests of the call that have not ended: one that a concurrent failure cuts off may be billed.
        estimate: Returns the estimated cost of a request.
    """
    before, others = len(attempts), set(in_flight)
    try:
        result = yield from flow
    except RerankError:
        known = certain_cost(attempts[before:])
        cut_off = [in_flight[each] for each in set(in_flight) - others]
        settle(None if known is None else known + sum(map(estimate, cut_off)))
        raise
    except BaseException:  # cut off, so the cost is unknown
        settle(None)
        raise
    settle(certain_cost(attempts[before:]))
    return result
