"""Budgets: so many dollars in so long a time, kept to before anything is sent."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from anyrerank._core.pricing.prices import owed
from anyrerank._core.runtime import Flow, ForkLock, is_number
from anyrerank._core.types import Attempt, RerankRequest, public
from anyrerank.errors import BudgetExceededError, ConfigurationError, RerankError

T = TypeVar("T")

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+)\s*([smhdw])")


@dataclass(slots=True)
class _Account:
    """What one spender did in one window."""

    window: float
    spent: float = 0.0
    reserved: float = 0.0


@public("anyrerank")
class Budget:
    """So many US dollars in each window of time: a call that would go beyond is refused before it is sent.

    What a call will cost is estimated and set aside, so that calls beside each other do not overspend together; when it
    is over, what it really cost takes the place of the estimate, unless nobody knows that: after a time-out, or when
    the call was cut off. Counted in this process, from when this was made.

        Reranker("cohere/rerank-v3.5", budget=Budget(20, "1d"), user_budget=Budget(0.50, "1d"))

    Safe for threads. A copy or a pickle has the same limit and has spent nothing; several rerankers may share one.

    Args:
        dollars: Most to spend in a window.
        window: How long a window is: seconds, or a text such as `"30s"`, `"12h"`, `"1d"`, `"2w"`; `None` for one that
            never ends. Windows begin at multiples of their length since 1970, so that `"1d"` is a day of UTC.
        clock: Seconds since 1970.

    Raises:
        ConfigurationError: `dollars` or `window` is no such number or text.
    """

    def __init__(
        self, dollars: float, window: float | str | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        if not (is_number(dollars) and dollars > 0):
            raise ConfigurationError("a budget is a number of US dollars above 0")
        self.dollars = float(dollars)
        self.window = window
        self._seconds = math.inf if window is None else seconds_of(window)
        self._clock = clock
        self._lock = ForkLock()
        self._window = -math.inf
        self._accounts: dict[str | None, _Account] = {}

    def __repr__(self) -> str:
        return f"Budget({self.dollars:g}, {self.window!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Budget, (self.dollars, self.window))

    def spent(self, spender: str | None = None) -> float:
        """US dollars that `spender` spent in the window that is open now."""
        with self._lock:
            return self._account(spender).spent

    def reserve(self, dollars: float, spender: str | None = None) -> Reservation:
        """Set `dollars` aside for a call of `spender`.

        Raises:
            BudgetExceededError: They are not there; `retry_after` says when the next window begins.
        """
        with self._lock:
            account = self._account(spender)
            if dollars and account.spent + account.reserved + dollars > self.dollars * (1 + 1e-9):
                raise self._exceeded(account, dollars, spender)
            account.reserved += dollars
        return Reservation(self, spender, account.window, dollars)

    def settle(self, reservation: Reservation, cost: float | None) -> None:
        """Count what a call cost (by the estimate, where that is not known) instead of what was set aside for it."""
        with self._lock:
            account = self._account(reservation.spender)
            if account.window == reservation.window:
                account.reserved = max(0.0, account.reserved - reservation.dollars)
            account.spent += reservation.dollars if cost is None else cost

    def _account(self, spender: str | None) -> _Account:
        window = 0.0 if math.isinf(self._seconds) else self._clock() // self._seconds
        if window != self._window:
            self._window = window
            self._accounts.clear()
        return self._accounts.setdefault(spender, _Account(window))

    def _exceeded(self, account: _Account, dollars: float, spender: str | None) -> BudgetExceededError:
        again = None if math.isinf(self._seconds) else (account.window + 1) * self._seconds - self._clock()
        whose = "the budget" if spender is None else "the end user's budget"
        each = "" if self.window is None else f" for {_named(self.window)}"
        under_way = f" and {_shown(account.reserved)} of calls under way" if account.reserved else ""
        later = "" if again is None else f"; the next window begins in {again:.0f} s"
        return BudgetExceededError(
            f"{whose} of {_shown(self.dollars)}{each} does not allow this call: {_shown(account.spent)} is spent"
            f"{under_way}, and it would cost about {_shown(dollars)}{later}",
            retry_after=again,
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """Dollars set aside for a call."""

    budget: Budget
    spender: str | None
    window: float
    dollars: float

    def settle(self, cost: float | None) -> None:
        """Count what the call cost; what nobody knows counts as it was estimated."""
        self.budget.settle(self, cost)


@dataclass(slots=True)
class Spending:
    """The budgets that a call has to keep to, and what is set aside of them."""

    reservations: list[Reservation] = field(default_factory=list)

    @classmethod
    def of(cls, budgets: Sequence[tuple[Budget, str | None]], dollars: float) -> Spending:
        """Set `dollars` aside in each budget, or in none when one of them raises."""
        spending = cls()
        try:
            for budget, spender in budgets:
                spending.reservations.append(budget.reserve(dollars, spender))
        except BaseException:
            spending.settle(0.0)
            raise
        return spending

    def settle(self, cost: float | None) -> None:
        """Count what was spent."""
        for reservation in self.reservations:
            reservation.settle(cost)


def charged(
    flow: Flow[T],
    settle: Callable[[float | None], None],
    attempts: Sequence[Attempt],
    under_way: Mapping[object, RerankRequest],
    estimate: Callable[[RerankRequest], float],
) -> Flow[T]:
    """`flow`, after which `settle` gets what its tries cost, or `None` where nobody knows that.

    Args:
        attempts: Those of the call, to which the flow adds its own.
        under_way: Requests of the call that have not ended: one that a failure beside it cuts off may still be billed.
        estimate: About what a request costs.
    """
    before, others = len(attempts), set(under_way)
    try:
        result = yield from flow
    except RerankError:
        known = owed(attempts[before:])
        cut_off = [under_way[each] for each in set(under_way) - others]
        settle(None if known is None else known + sum(map(estimate, cut_off)))
        raise
    except BaseException:  # it was cut off, wherever it was
        settle(None)
        raise
    settle(owed(attempts[before:]))
    return result


def seconds_of(window: float | str) -> float:
    """The length of a window in seconds."""
    if isinstance(window, str):
        found = _DURATION.fullmatch(window.strip())
        window = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not (is_number(window) and window > 0):
        raise ConfigurationError("a budget's window is a number of seconds above 0, or a text such as '30s' or '1d'")
    return float(window)


def _named(window: float | str) -> str:
    return window if isinstance(window, str) else f"{window:g} s"


def _shown(dollars: float) -> str:
    return f"${dollars:.2f}" if dollars == round(dollars, 2) else f"${dollars:.6f}"
