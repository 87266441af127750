"""Budgets: how many US dollars may be spent per window of time, enforced before anything is sent."""

from __future__ import annotations

import math
import re
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import uuid4

from anyrerank._core.pricing.budget_state import Balance, BudgetState, HasBudgets, Hold, SharedAccount
from anyrerank._core.runtime import is_number, reset_in_child, run
from anyrerank._core.types import public
from anyrerank.errors import BudgetExceededError, ConfigurationError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "mo": 30 * 86400.0}
_WORDS = {"hourly": "1h", "daily": "1d", "weekly": "1w", "monthly": "1mo"}
_MINUTE = 60.0
_DURATION = re.compile(r"(\d+)\s*(mo|[smhdw])")


@dataclass(slots=True)
class _Account:
    """US dollars of one spender in one window."""

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
    is counted in this process, from when the budget was made, or in a `state` that several processes share.

        Reranker("cohere/rerank-v3.5", budget=Budget(20, "1d"), user_budget=Budget(0.50, "1d"))
        Budget(500, "1d", state=RedisState("redis://..."), name="nightly")  # one budget for all processes

    Thread-safe; several rerankers may share one. A copy or a pickle has the same limit and starts with nothing spent,
    and a warning says so, unless there is a `state`. A forked child counts on its own from what its parent had spent.

    Args:
        dollars: How much may be spent in a window; 0 allows calls that are free.
        window: Length of a window: seconds, or a string such as `"12h"`, `"1d"`, `"2w"`, `"1mo"` (30 days); `None` for
            one that never ends. Windows start at multiples of their length since the epoch, so `"1d"` is a day in UTC.
        state: Where to count, such as an `anyrerank.state.RedisState`.
        name: What the budget is called there: budgets with the same name and length of window are the same.

    Raises:
        ConfigurationError: `dollars` or `window` is invalid, or `state` has no `name` to go with it.
    """

    def __init__(
        self,
        dollars: float,
        window: float | str | None = None,
        *,
        state: HasBudgets | None = None,
        name: str | None = None,
    ) -> None:
        if not (is_number(dollars) and dollars >= 0):
            raise ConfigurationError(f"a budget must be a number of US dollars of at least 0, got {dollars!r}")
        if (state is None) != (name is None) or name == "":
            raise ConfigurationError("a budget must have both state= and name=, or neither")
        if state is not None and not hasattr(state, "budgets"):
            raise ConfigurationError(f"state must be a RedisState, got {type(state).__name__}")
        self.dollars = float(dollars)
        self.window = window
        self.owner: str | None = None
        """Whose budget it is, for errors, such as `"key"`."""
        self._seconds = math.inf if window is None else seconds_of(window)
        self._book = _Book()
        self._shared: _Shared | None = None
        if state is not None and name is not None:
            self.share(state, name)
        reset_in_child(self, Budget._reset)

    def _reset(self) -> None:
        self._book.lock = threading.Lock()
        for account in self._book.accounts.values():
            account.reserved = 0.0  # for calls of the parent

    def __repr__(self) -> str:
        shared = "" if self._shared is None else f", state={self._shared.state!r}, name={self._shared.name!r}"
        return f"Budget({self.dollars:g}, {self.window!r}{shared})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._shared is None:
            warnings.warn(
                f"a copy of {self!r} counts on its own, so that several copies may spend several times as much: pass "
                "state= and name= to let them share it",
                RuntimeWarning,
                stacklevel=2,
            )
            return (Budget, (self.dollars, self.window))
        return (_shared_budget, (self.dollars, self.window, self._shared.state, self._shared.name))

    def share(self, state: HasBudgets, name: str, past: Callable[[str | None, float], float] | None = None) -> None:
        """Count in a state from now on.

        Args:
            state: Where to count.
            name: What the budget is called there.
            past: Returns the US dollars that a spender has spent since a window started, in seconds since 1970, for a
                state that has no record of them; it may block.
        """
        self._shared = _Shared(state, name, past)

    @property
    def shared_in(self) -> BudgetState | None:
        """The state in which it counts; `None` for this process."""
        return None if self._shared is None else self._shared.state.budgets

    def update_known(self, found: Balance) -> None:
        """Store the balance for everyone that the state has just reported."""
        if self._shared is not None:
            self._shared.seen = found

    @property
    def known(self) -> Balance:
        """The balance for everyone that the state last reported; the state is not queried."""
        if self._shared is not None:
            return self._shared.seen or Balance()
        with self._book.lock:
            account = self._account(None)
            return Balance(account.spent, account.reserved)

    @property
    def is_known(self) -> bool:
        """Whether `known` is a balance that the state reported, not an initial 0."""
        return self._shared is None or self._shared.seen is not None

    @property
    def known_left(self) -> float:
        """US dollars that everyone can still spend, by `known`."""
        found = self.known
        return max(0.0, self.dollars - found.spent - found.reserved)

    def spent(self, spender: str | None = None) -> float:
        """US dollars that `spender` (`None`: everyone) has spent in the current window; queries a `state`.

        Raises:
            StateUnavailableError: The state cannot be reached.
        """
        return self._balance(spender).spent

    def left(self, spender: str | None = None) -> float:
        """US dollars that `spender` can still spend in the current window, without those of calls in flight.

        Raises:
            StateUnavailableError: The state cannot be reached.
        """
        found = self._balance(spender)
        return max(0.0, self.dollars - found.spent - found.reserved)

    def _balance(self, spender: str | None) -> Balance:
        if self._shared is not None:
            return run(self._shared.state.budgets.found(self.account(spender)))
        with self._book.lock:
            account = self._account(spender)
            return Balance(account.spent, account.reserved)

    def add(self, dollars: float, spender: str | None = None) -> None:
        """Count what `spender` has spent elsewhere in the current window, such as before a restart.

        Raises:
            StateUnavailableError: The state cannot be reached.
        """
        if self._shared is not None:
            # First, so that a state without a record of the account adds what it had spent before.
            self._balance(spender)
            account = self.account(spender)
            self._shared.state.budgets.settle(Hold(uuid4().hex, [account], 0.0, []), dollars)
            return
        with self._book.lock:
            self._account(spender).spent += dollars

    def succeed(self, other: Budget) -> bool:
        """Take over what `other` has counted, together with its calls in flight.

        Returns:
            Whether it did: not if the windows of the two have different lengths.
        """
        if self._seconds != other._seconds:
            return False
        self._book, self._shared = other._book, other._shared
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
            BudgetExceededError: They would exceed the budget; `retry_after` is the time until the next window, if they
                would fit in it.
        """
        with self._book.lock:
            account = self._account(spender)
            if dollars and account.spent + account.reserved + dollars > self.dollars * (1 + 1e-9):
                raise self.exceeded(Balance(account.spent, account.reserved), dollars, spender)
            account.reserved += dollars
        return Reservation(self, spender, account.window, dollars)

    def settle(self, reservation: Reservation, cost: float | None) -> None:
        """Replace what was reserved for a call by what it cost; `None` counts the estimate."""
        with self._book.lock:
            account = self._account(reservation.spender)
            if account.window == reservation.window:
                account.reserved = max(0.0, account.reserved - reservation.dollars)
            account.spent += reservation.dollars if cost is None else cost

    def account(self, spender: str | None) -> SharedAccount:
        """The account of `spender` in the state.

        Raises:
            ConfigurationError: There is no state.
        """
        if self._shared is None:
            raise ConfigurationError(f"{self!r} has no state")
        whose = "" if spender is None else f":{sha256(spender.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
        return SharedAccount(
            f"{self._shared.name}:{self._seconds:.17g}{whose}",
            self.dollars,
            self._seconds,
            None if self._shared.past is None else partial(self._shared.past, spender),
        )

    def _account(self, spender: str | None) -> _Account:
        window = 0.0 if math.isinf(self._seconds) else time.time() // self._seconds
        book = self._book
        if window != book.window:
            book.window = window
            book.accounts.clear()
        return book.accounts.setdefault(spender, _Account(window))

    def owner_of(self, spender: str | None) -> str | None:
        """Who `spender` is, or else `owner`."""
        return self.owner if spender is None else "end user"

    def exceeded(self, found: Balance, dollars: float, spender: str | None) -> BudgetExceededError:
        """The error for a call that costs more dollars than are left."""
        fits = dollars <= self.dollars * (1 + 1e-9)
        starts = self.ends if fits else None
        again = None if starts is None else max(0.0, starts - time.time())
        owner = self.owner_of(spender)
        whose = "the budget" if owner is None else f"the {owner}'s budget"
        each = "" if self.window is None else f" for {_named(self.window)}"
        reserved = f", {dollars_text(found.reserved)} reserved by calls in flight" if found.reserved else ""
        later = "" if fits else ", which is more than the whole budget"
        if starts is not None and again is not None:
            later = f"; the next window starts {_when(starts, again)}"
        error = BudgetExceededError(
            f"{whose} of {dollars_text(self.dollars)}{each} would be exceeded: {dollars_text(found.spent)} spent"
            f"{reserved}, and this call costs about {dollars_text(dollars)}{later}",
            retry_after=again,
        )
        error.owner = owner
        return error


@dataclass(slots=True)
class _Shared:
    """The state in which a budget counts, and the balance that it last reported."""

    state: HasBudgets
    name: str
    past: Callable[[str | None, float], float] | None = None
    seen: Balance | None = None


def _shared_budget(dollars: float, window: float | str | None, state: HasBudgets, name: str) -> Budget:
    return Budget(dollars, window, state=state, name=name)


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


def seconds_of(window: float | str) -> float:
    """The length of a window in seconds."""
    if isinstance(window, str):
        text = window.strip().lower()
        found = _DURATION.fullmatch(_WORDS.get(text, text))
        window = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not (is_number(window) and window > 0):
        raise ConfigurationError(
            "a budget's window must be a positive number of seconds, or a string such as '30s' or '1d'"
        )
    return float(window)


def _named(window: float | str) -> str:
    return window if isinstance(window, str) else f"{window:g} s"


def _when(starts: float, seconds: float) -> str:
    """A point in time for an error message: the seconds until then, or its date if that is over a minute away."""
    if seconds <= _MINUTE:
        return f"in {math.ceil(seconds)} s"
    minute = math.ceil(starts / _MINUTE) * _MINUTE
    return time.strftime("on %Y-%m-%d %H:%M UTC", time.gmtime(minute))


def dollars_text(dollars: float) -> str:
    """US dollars with all decimals that count, at least two of them, such as `$0.50` and `$0.0021`."""
    whole, _, decimals = f"{dollars:.9f}".partition(".")
    return f"${whole}.{decimals.rstrip('0'):0<2}"


def summed(dollars: float) -> float:
    """US dollars without the error that a sum of binary fractions has: to 12 digits."""
    return float(f"{dollars:.12g}")
