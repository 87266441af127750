"""Budgets in Redis."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from anyrerank._core.pricing import Balance, BudgetState, Hold, RefusedError, SharedAccount
from anyrerank._core.redis import RedisLink, RedisUnavailableError, Script
from anyrerank._core.runtime import Blocking, Flow, reset_in_child
from anyrerank.errors import RerankError, StateUnavailableError
from anyrerank.state.asked import asked

_RESERVE = Script("anyrerank.state.scripts", "reserve")
_SETTLE = Script("anyrerank.state.scripts", "settle")
_NANO = 1e9
_HOLD_SECONDS = 900.0
"""How long a reservation lasts: that of a process that was killed comes back after it."""
_LARGEST = 9e6
"""Dollars whose billionths a script still counts exactly."""
_MOST_REMEMBERED = 10_000


class RedisBudgets(BudgetState):
    """What accounts have spent, in Redis.

    Args:
        link: To the server.
        prefix: Of its keys.
        refuse_when_away: Whether to refuse while the server does not answer; else to spend what was left.
    """

    def __init__(self, link: RedisLink, prefix: str, *, refuse_when_away: bool) -> None:
        self._link = link
        self._prefix = prefix
        self._refuse_when_away = refuse_when_away
        self._last: dict[str, Balance] = {}
        self._lock = threading.Lock()
        reset_in_child(self, RedisBudgets._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()

    def reserve(self, accounts: Sequence[SharedAccount], dollars: float) -> Flow[Hold]:
        """Reserve dollars in each account, or in none.

        Raises:
            RefusedError: One has too little left.
            StateUnavailableError: The server does not answer, and that refuses calls.
        """
        hold_id = uuid4().hex
        try:
            found = yield from self._asked(hold_id, accounts, dollars)
        except RedisUnavailableError as error:
            if self._refuse_when_away:
                raise StateUnavailableError(
                    f"{error}, so it is not known whether the budget allows this call; try again", retry_after=1.0
                ) from None
            return self._reserved_here(hold_id, accounts, dollars)
        except RefusedError:
            raise
        except BaseException:  # cut off, perhaps after the reservation was made
            self.settle(Hold(hold_id, accounts, dollars, ()), 0.0)
            raise
        return Hold(hold_id, accounts, dollars, found)

    def _asked(self, hold_id: str, accounts: Sequence[SharedAccount], dollars: float) -> Flow[list[Balance]]:
        """Ask the server, and tell it the past of an account that it does not know."""
        bases: dict[str, float] = {}
        while True:
            command = _RESERVE.command(self._keys(accounts), _arguments(hold_id, accounts, dollars, bases))
            status, *rest = yield from asked(self._link, command)
            if status == b"held":
                found = [_balance(*pair) for pair in zip(rest[::2], rest[1::2], strict=True)]
                self._remember(accounts, found)
                return found
            index = int(rest[0]) - 1
            if status == b"refused":
                raise RefusedError(index, _balance(*rest[1:]))
            bases[accounts[index].name] = yield from _past(accounts[index])

    def settle(self, hold: Hold, cost: float) -> None:
        """Replace what was reserved by what was spent. On an event loop it does not wait; it never raises."""
        args: list[Any] = [hold.id]
        for account in hold.accounts:
            args += [_seconds(account), _nano(hold.dollars, up=True), _nano(cost)]
            self._change(account, spent=cost, reserved=-hold.dollars)
        self._link.post(_SETTLE.command(self._keys(hold.accounts), [*args, 0]))

    def found(self, account: SharedAccount) -> Flow[Balance]:
        """What an account has spent and reserved.

        Raises:
            StateUnavailableError: The server does not answer, and that refuses calls.
        """
        hold = yield from self.reserve([account], 0.0)
        return hold.found[0]

    def _reserved_here(self, hold_id: str, accounts: Sequence[SharedAccount], dollars: float) -> Hold:
        """Reserve from what was left when the server last answered, as far as this process knows."""
        with self._lock:
            found = [self._last.get(account.name, Balance()) for account in accounts]
            for index, (account, balance) in enumerate(zip(accounts, found, strict=True)):
                if dollars and balance.spent + balance.reserved + dollars > account.dollars * (1 + 1e-9):
                    raise RefusedError(index, balance)
            for account, balance in zip(accounts, found, strict=True):
                self._last[account.name] = Balance(balance.spent, balance.reserved + dollars)
        return Hold(hold_id, accounts, dollars, found)

    def _remember(self, accounts: Sequence[SharedAccount], found: Sequence[Balance]) -> None:
        if self._refuse_when_away:
            return
        with self._lock:
            if len(self._last) >= _MOST_REMEMBERED:
                self._last.clear()
            for account, balance in zip(accounts, found, strict=True):
                self._last[account.name] = balance

    def _change(self, account: SharedAccount, *, spent: float, reserved: float) -> None:
        with self._lock:
            before = self._last.get(account.name)
            if before is not None:
                self._last[account.name] = Balance(before.spent + spent, max(0.0, before.reserved + reserved))

    def _keys(self, accounts: Sequence[SharedAccount]) -> list[str]:
        return [f"{self._prefix}:budget:{account.name}{part}" for account in accounts for part in ("", ":reservations")]


def _past(account: SharedAccount) -> Flow[float]:
    """Dollars that were spent before."""
    if account.past is None:
        return 0.0
    try:
        spent: float = yield Blocking(account.past)
    except RerankError as error:
        message = f"it is not known what was spent before: {error.message}"
        raise StateUnavailableError(message, retry_after=1.0) from None
    return spent


def _arguments(
    hold_id: str, accounts: Sequence[SharedAccount], dollars: float, bases: dict[str, float]
) -> list[str | int | float]:
    args: list[str | int | float] = [hold_id, _HOLD_SECONDS]
    for account in accounts:
        base = bases.get(account.name)
        known = base is not None or account.past is None
        args += [
            _nano(account.dollars),
            _seconds(account),
            _nano(dollars, up=True),
            _nano(base or 0.0) if known else "",
        ]
    return args


def _seconds(account: SharedAccount) -> float:
    return 0 if math.isinf(account.seconds) else account.seconds


def _nano(dollars: float, *, up: bool = False) -> int:
    """Billionths of a dollar: a sum of integers does not drift."""
    billionths = min(dollars, _LARGEST) * _NANO
    return math.ceil(billionths - 1e-6) if up else round(billionths)


def _balance(spent: bytes, reserved: bytes) -> Balance:
    return Balance(int(spent) / _NANO, int(reserved) / _NANO)
