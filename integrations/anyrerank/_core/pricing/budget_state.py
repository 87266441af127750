"""The interface of a state in which budgets of several processes count."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from anyrerank._core.runtime import Flow

NANO = 1e9
"""Billionths of a dollar in a dollar: a state counts in integers, whose sum does not drift."""


def billionths(dollars: float, *, up: bool = False) -> int:
    """Dollars as billionths of a dollar, rounded up or to the nearest."""
    return math.ceil(dollars * NANO - 1e-6) if up else round(dollars * NANO)


@dataclass(frozen=True, slots=True)
class SharedAccount:
    """The spending of one spender from one budget, in all processes.

    Attributes:
        name: The same in all processes.
        dollars: The limit.
        seconds: Length of a window; infinity if it never ends.
        past: Returns the US dollars spent since a window started, in seconds since 1970 (0: ever), for a state that has
            no record of them; it may block.
    """

    name: str
    dollars: float
    seconds: float
    past: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """Dollars of an account in its current window.

    Attributes:
        spent: What finished calls cost.
        reserved: What calls in flight will cost.
    """

    spent: float = 0.0
    reserved: float = 0.0

    @classmethod
    def of(cls, spent: int, reserved: int) -> Balance:
        """The balance for amounts in billionths of a dollar."""
        return cls(spent / NANO, reserved / NANO)


@dataclass(frozen=True, slots=True)
class Hold:
    """Dollars that are reserved in several accounts.

    Attributes:
        id: Id of the reservation.
        accounts: The accounts.
        dollars: US dollars that are reserved in each.
        found: Balance of each account, with this reservation.
        made: When the state made it, in seconds since 1970 by its clock; `None` if that is not known.
        is_confirmed: Whether the state has confirmed it; otherwise this process decided without the state.
    """

    id: str
    accounts: Sequence[SharedAccount]
    dollars: float
    found: Sequence[Balance]
    made: float | None = None
    is_confirmed: bool = True


class RefusedError(Exception):
    """An account has less left than is to be reserved.

    Args:
        index: Index of the account.
        found: Its balance.
    """

    def __init__(self, index: int, found: Balance) -> None:
        super().__init__(f"account {index} has too little left")
        self.index = index
        self.found = found


class BudgetState(ABC):
    """A state in which budgets of several processes count. Its flows may wait for a network."""

    @abstractmethod
    def reserve(self, accounts: Sequence[SharedAccount], dollars: float) -> Flow[Hold]:
        """Reserve dollars in each account, or in none.

        Raises:
            RefusedError: One has too little left.
            StateUnavailableError: The state cannot be reached.
        """

    @abstractmethod
    def settle(self, hold: Hold, cost: float) -> None:
        """Replace what was reserved by what was spent. On an event loop it does not wait; it never raises."""

    @abstractmethod
    def at_least(self, spent: Sequence[tuple[SharedAccount, float]]) -> None:
        """Raise what accounts have spent in their current windows to at least these US dollars; it may block.

        Accounts that the state does not know stay unknown.
        """

    @abstractmethod
    def found(self, account: SharedAccount) -> Flow[Balance]:
        """The balance of an account.

        Raises:
            StateUnavailableError: The state cannot be reached.
        """


class HasBudgets(Protocol):
    """A shared state with budgets, such as `anyrerank.state.RedisState`."""

    @property
    def budgets(self) -> BudgetState:
        """The state of the budgets."""
        ...
