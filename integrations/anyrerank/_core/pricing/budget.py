"""Budgets: how many US dollars may be spent per window of time, enforced before anything is sent."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from anyrerank._core.pricing.prices import owed
from anyrerank._core.runtime import Flow, is_number, reset_in_child
from anyrerank._core.types import Attempt, RerankRequest, public
from anyrerank.errors import BudgetExceededError, ConfigurationError, RerankError

T = TypeVar("T")

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_MINUTE = 60.0
_DURATION = re.compile(r"(\d+)\s*([smhdw])")


@dataclass(slots=True)
class _Account:
    """What one spender spent in one window."""

    window: float
    spent: float = 0.0
    reserved: float = 0.0


@dataclass(slots=True)
class _Book:
    """The accounts of the current window; a budget and its successor have the same."""

    window: float = -math.inf
    accounts: dict[str | None, _Account] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@public("anyrerank")
class Budget:
    """A limit in US dollars per window of time: a call that would exceed it is refused before it is sent.

    The estimated cost of a call is reserved, so that concurrent calls do not overspend together. When the call is over,
    its real cost replaces the estimate, unless that is unknown: after a timeout, or when the call was cut off. Spending
    is counted in this process, from when the budget was made.

        Reranker("cohere/rerank-v3.5", budget=Budget(20, "1d"), user_budget=Budget(0.50, "1d"))

    Thread-safe; several rerankers may share one. A copy or a pickle has the same limit and starts with nothing spent. A
    forked child counts on its own from what its parent had spent.

    Args:
        dollars: How much may be spent in a window; 0 allows calls that are free.
        window: Length of a window: seconds, or a string such as `"30s"`, `"12h"`, `"1d"`, `"2w"`; `None` for one that
            never ends. Windows start at multiples of their length since the epoch, so `"1d"` is a day in UTC.

    Raises:
        ConfigurationError: `dollars` or `window` is invalid.
    """

    def __init__(self, dollars: float, window: float | str | None = None) -> None:
        if not (is_number(dollars) and dollars >= 0):
            raise ConfigurationError(f"a budget must be a number of US dollars of at least 0, got {dollars!r}")
        self.dollars = float(dollars)
        self.window = window
        self._seconds = math.inf if window is None else seconds_of(window)
        self._book = _Book()
        reset_in_child(self, Budget._reset)

    def _reset(self) -> None:
        self._book.lock = threading.Lock()
        for account in self._book.accounts.values():
            account.reserved = 0.0  # for calls of the parent

    def __repr__(self) -> str:
        return f"Budget({self.dollars:g}, {self.window!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Budget, (self.dollars, self.window))

    def spent(self, spender: str | None = None) -> float:
        """US dollars that `spender` (`None`: everyone) has spent in the current window."""
        with self._book.lock:
            return self._account(spender).spent

    def left(self, spender: str | None = None) -> float:
        """US dollars that `spender` can still spend in the current window, without those of calls in flight."""
        with self._book.lock:
            account = self._account(spender)
            return max(0.0, self.dollars - account.spent - account.reserved)

    def add(self, dollars: float, spender: str | None = None) -> None:
        """Count what `spender` has spent elsewhere in the current window, such as before a restart."""
        with self._book.lock:
            self._account(spender).spent += dollars

    def succeed(self, other: Budget) -> bool:
        """Go on with what `other` has counted, and count its calls in flight with it.

        Returns:
            Whether it does: not if the windows of the two have different lengths.
        """
        if self._seconds != other._seconds:
            return False
        self._book = other._book
        return True

    @property
    def started(self) -> float:
        """When the current window started, in seconds since the epoch; 0 for a window that never ends."""
        return 0.0 if math.isinf(self._seconds) else time.time() // self._seconds * self._seconds

    @property
    def ends(self) -> float | None:
        """When the current window ends, in seconds since the epoch; `None` for one that never ends."""
        return None if math.isinf(self._seconds) else self.started + self._seconds

    def reserve(self, dollars: float, spender: str | None = None) -> Reservation:
        """Reserve `dollars` for a call of `spender`.

        Raises:
            BudgetExceededError: They would exceed the budget; `retry_after` says when the next window starts, if they
                would fit there.
        """
        with self._book.lock:
            account = self._account(spender)
            if dollars and account.spent + account.reserved + dollars > self.dollars * (1 + 1e-9):
                raise self._exceeded(account, dollars, spender)
            account.reserved += dollars
        return Reservation(self, spender, account.window, dollars)

    def settle(self, reservation: Reservation, cost: float | None) -> None:
        """Replace what was reserved for a call by what it cost; `None` counts the estimate."""
        with self._book.lock:
            account = self._account(reservation.spender)
            if account.window == reservation.window:
                account.reserved = max(0.0, account.reserved - reservation.dollars)
            account.spent += reservation.dollars if cost is None else cost

    def _account(self, spender: str | None) -> _Account:
        window = 0.0 if math.isinf(self._seconds) else time.time() // self._seconds
        book = self._book
        if window != book.window:
            book.window = window
            book.accounts.clear()
        return book.accounts.setdefault(spender, _Account(window))

    def _exceeded(self, account: _Account, dollars: float, spender: str | None) -> BudgetExceededError:
        fits = dollars <= self.dollars * (1 + 1e-9)
        starts = None if math.isinf(self._seconds) or not fits else (account.window + 1) * self._seconds
        again = None if starts is None else max(0.0, starts - time.time())
        whose = "the budget" if spender is None else "the end user's budget"
        each = "" if self.window is None else f" for {_named(self.window)}"
        reserved = f", {_shown(account.reserved)} reserved by calls in flight" if account.reserved else ""
        later = "" if fits else ", which is more than the whole budget"
        if starts is not None and again is not None:
            later = f"; the next window starts {_when(starts, again)}"
        return BudgetExceededError(
            f"{whose} of {_shown(self.dollars)}{each} would be exceeded: {_shown(account.spent)} spent{reserved}, and "
            f"this call costs about {_shown(dollars)}{later}",
            retry_after=again,
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """Dollars reserved for a call."""

    budget: Budget
    spender: str | None
    window: float
    dollars: float

    def settle(self, cost: float | None) -> None:
        """Count what the call cost; `None`, if that is unknown, counts the estimate."""
        self.budget.settle(self, cost)


@dataclass(slots=True)
class Spending:
    """What a call has reserved in its budgets."""

    reservations: list[Reservation] = field(default_factory=list)

    @classmethod
    def of(cls, budgets: Sequence[tuple[Budget, str | None]], dollars: float) -> Spending:
        """Reserve `dollars` in each budget, or in none if one of them raises."""
        spending = cls()
        try:
            for budget, spender in budgets:
                spending.reservations.append(budget.reserve(dollars, spender))
        except BaseException:
            spending.settle(0.0)
            raise
        return spending

    def settle(self, cost: float | None) -> None:
        """Count what the call cost."""
        for reservation in self.reservations:
            reservation.settle(cost)


def charged(
    flow: Flow[T],
    settle: Callable[[float | None], None],
    attempts: Sequence[Attempt],
    in_flight: Mapping[object, RerankRequest],
    estimate: Callable[[RerankRequest], float],
) -> Flow[T]:
    """`flow`, after which `settle` gets the cost of its attempts, or `None` if that is unknown.

    Args:
        flow: Sends requests.
        settle: Gets the cost.
        attempts: Those of the call; the flow adds its own.
        in_flight: Requests of the call that have not ended: one that a concurrent failure cuts off may be billed.
        estimate: About what a request costs.
    """
    before, others = len(attempts), set(in_flight)
    try:
        result = yield from flow
    except RerankError:
        known = owed(attempts[before:])
        cut_off = [in_flight[each] for each in set(in_flight) - others]
        settle(None if known is None else known + sum(map(estimate, cut_off)))
        raise
    except BaseException:  # cut off: what it cost is not known
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
        raise ConfigurationError(
            "a budget's window must be a positive number of seconds, or a string such as '30s' or '1d'"
        )
    return float(window)


def _named(window: float | str) -> str:
    return window if isinstance(window, str) else f"{window:g} s"


def _when(starts: float, seconds: float) -> str:
    """A moment as an operator reads it: how many seconds away it is, or if that is above a minute, its date."""
    if seconds <= _MINUTE:
        return f"in {math.ceil(seconds)} s"
    minute = math.ceil(starts / _MINUTE) * _MINUTE
    return time.strftime("on %Y-%m-%d %H:%M UTC", time.gmtime(minute))


def _shown(dollars: float) -> str:
    return f"${dollars:.2f}" if dollars == round(dollars, 2) else f"${dollars:.6f}"
