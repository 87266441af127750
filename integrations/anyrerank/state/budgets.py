"""The state of budgets in Redis."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

from anyrerank._core.pricing import Balance, BudgetState, Hold, RefusedError, SharedAccount, billionths
from anyrerank._core.redis import RedisLink, RedisUnavailableError, Script
from anyrerank._core.runtime import Blocking, Flow, reset_in_child
from anyrerank.errors import RerankError, StateUnavailableError
from anyrerank.state.notifications import Notifications
from anyrerank.state.replies import asking, reply_once_whole

_RAISE = Script("anyrerank.state.scripts", "raise")
_RESERVE = Script("anyrerank.state.scripts", "reserve")
_GIVE_BACK = Script("anyrerank.state.scripts", "give_back")
_SETTLE = Script("anyrerank.state.scripts", "settle")
_HOLD_SECONDS = 900.0
_LARGEST = 9e6
"""Dollars whose billionths a script still counts exactly."""
_MOST_REMEMBERED = 10_000


class RedisBudgets(BudgetState):
    """The balances of accounts, in Redis.

    Args:
        link: To the server.
        prefix: Of its keys.
        refuse_when_away: Whether to refuse while the server does not answer; else to spend what was left.
        hold_seconds: How long a reservation lasts: that of a process that was killed comes back after it.
        notifications: How processes agree that the server has its data. Without it, reservations are lost with the
            data.
    """

    def __init__(
        self,
        link: RedisLink,
        prefix: str,
        *,
        refuse_when_away: bool,
        hold_seconds: float = _HOLD_SECONDS,
        notifications: Notifications | None = None,
    ) -> None:
        self._link = link
        self._prefix = prefix
        self._refuse_when_away = refuse_when_away
        self._hold_seconds = hold_seconds
        self._last: dict[tuple[str, float], Balance] = {}
        self._pasts: dict[tuple[str, float], tuple[float, float | RerankError]] = {}
        """When what an account had spent since a window started was read last, and what was found."""
        self._notifications = notifications
        if notifications is not None:
            notifications.add(self)
        self._reset()
        reset_in_child(self, RedisBudgets._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._held: dict[str, Hold] = {}
        """Reservations of this process that the server has made, by their ids."""

    def reserve(self, accounts: Sequence[SharedAccount], dollars: float) -> Flow[Hold]:
        """Reserve dollars in each account, or in none.

        Raises:
            RefusedError: One has too little left.
            StateUnavailableError: The server does not answer, and that refuses calls.
        """
        hold_id = uuid4().hex
        perhaps = Hold(hold_id, accounts, dollars, ())
        try:
            hold = yield from self._asked(hold_id, accounts, dollars)
        except RefusedError:
            raise
        except RedisUnavailableError as error:
            try:
                return (yield from self._reserved_here(perhaps, error))
            except BaseException:
                if error.may_have_run:
                    self.settle(perhaps, 0.0)
                raise
        except BaseException:  # cut off, perhaps after the reservation was made
            self.settle(perhaps, 0.0)
            raise
        if dollars:
            self._held[hold_id] = hold
        return hold

    def _asked(self, hold_id: str, accounts: Sequence[SharedAccount], dollars: float) -> Flow[Hold]:
        """Reserve on the server; an account that is new there first gets what it has spent before."""
        bases: dict[str, float] = {}
        while True:
            args = [hold_id, self._hold_seconds, *_limits(accounts, dollars, bases)]
            command = partial(asking, _RESERVE, self._keys(accounts), args, self._notifications)
            status, *rest = yield from reply_once_whole(self._link, command, self._notifications)
            if status == b"held":
                made, *pairs = rest
                found = [_balance(*pair) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
                self._remember(accounts, found)
                return Hold(hold_id, accounts, dollars, found, made=float(made) if dollars else None)
            index = int(rest[0]) - 1
            if status == b"refused":
                balance = _balance(*rest[1:])
                self._remember([accounts[index]], [balance])
                raise RefusedError(index, balance)
            bases[accounts[index].name] = yield from self._past(accounts[index], float(rest[1]))

    def _past(self, account: SharedAccount, started: float) -> Flow[float]:
        """Dollars that were spent before, in the window that started then."""
        found: float | RerankError = yield Blocking(partial(self._read_past, account, started, time.monotonic()))
        if isinstance(found, RerankError):
            message = f"it is not known what was spent before: {found.message}"
            raise StateUnavailableError(message, retry_after=1.0)
        return found

    def _read_past(self, account: SharedAccount, started: float, asked: float) -> float | RerankError:
        """The past, read once for all calls that wait for it: those of an unknown account come all at once."""
        with self._reading:
            place = (account.name, started)
            when, found = self._pasts.get(place, (-math.inf, 0.0))
            if when < asked:
                when = time.monotonic()
                try:
                    found = 0.0 if account.past is None else account.past(started)
                except RerankError as error:
                    found = error.with_traceback(None)
                if len(self._pasts) >= _MOST_REMEMBERED:
                    self._pasts.clear()
                self._pasts[place] = when, found
            return found

    def settle(self, hold: Hold, cost: float) -> None:
        """Replace what was reserved by what was spent. On an event loop it does not wait; it never raises."""
        self._held.pop(hold.id, None)
        args: list[Any] = [hold.id]
        for account in hold.accounts:
            args += [_seconds(account), _nano(hold.dollars, up=True), _nano(cost)]
            self._change(account, spent=cost, reserved=-hold.dollars)
        made = "" if hold.made is None else f"{hold.made:.6f}"
        self._link.post(_SETTLE.command(self._keys(hold.accounts), [*args, made, int(hold.is_confirmed), 0]))

    def at_least(self, spent: Sequence[tuple[SharedAccount, float]]) -> None:
        """Let accounts have spent at least that in their current windows; it never raises."""
        self._link.offer(
            [
                _RAISE.command(self._keys([account])[:1], [_seconds(account), _nano(dollars), 0])
                for account, dollars in spent
            ]
        )

    def connected(self) -> None:
        """Nothing: every reservation asks the server."""

    def received(self, message: dict[str, Any]) -> None:
        """Nothing: other processes tell budgets nothing."""

    def lost(self, loss: str | None) -> None:  # noqa: ARG002  it has no effect to make one twice
        """Make the reservations of calls in flight again."""
        for hold in self._held.copy().values():
            args: list[str | int | float] = [hold.id, self._hold_seconds, _nano(hold.dollars, up=True)]
            self._link.call(_GIVE_BACK.command(self._keys(hold.accounts), args))
            if hold.id not in self._held:  # it ended meanwhile, perhaps before it was made again
                self.settle(hold, 0.0)

    def found(self, account: SharedAccount) -> Flow[Balance]:
        """What an account has spent and reserved.

        Raises:
            StateUnavailableError: The server does not answer, and that refuses calls.
        """
        hold = yield from self.reserve([account], 0.0)
        return hold.found[0]

    def _reserved_here(self, hold: Hold, error: RedisUnavailableError) -> Flow[Hold]:
        """Reserve from what was left when the server last answered, as far as this process knows."""
        if self._refuse_when_away:
            message = f"{error}, so it is not known whether the budget allows this call; try again"
            raise StateUnavailableError(message, retry_after=1.0) from None
        pasts = {}
        for account in hold.accounts:
            if account.past is not None and _place(account) not in self._last:
                started = 0.0 if math.isinf(account.seconds) else time.time() // account.seconds * account.seconds
                pasts[_place(account)] = Balance((yield from self._past(account, started)))
        with self._lock:
            found = [self._last.get(place) or pasts.get(place, Balance()) for place in map(_place, hold.accounts)]
            for index, (account, balance) in enumerate(zip(hold.accounts, found, strict=True)):
                if hold.dollars and balance.spent + balance.reserved + hold.dollars > account.dollars * (1 + 1e-9):
                    raise RefusedError(index, balance)
            found = [Balance(balance.spent, balance.reserved + hold.dollars) for balance in found]
            self._store(hold.accounts, found)
        return replace(hold, found=found, is_confirmed=False)

    def _remember(self, accounts: Sequence[SharedAccount], found: Sequence[Balance]) -> None:
        if self._refuse_when_away:
            return
        with self._lock:
            self._store(accounts, found)

    def _store(self, accounts: Sequence[SharedAccount], found: Sequence[Balance]) -> None:
        """Store balances in the place of the oldest ones; the lock must be held."""
        for account, balance in zip(accounts, found, strict=True):
            self._last.pop(_place(account), None)  # or it would keep its age
            self._last[_place(account)] = balance
        while len(self._last) > _MOST_REMEMBERED:
            del self._last[next(iter(self._last))]

    def _change(self, account: SharedAccount, *, spent: float, reserved: float) -> None:
        with self._lock:
            before = self._last.get(_place(account))
            if before is not None:
                self._last[_place(account)] = Balance(before.spent + spent, max(0.0, before.reserved + reserved))

    def _keys(self, accounts: Sequence[SharedAccount]) -> list[str]:
        return [key for account in accounts for key in self._keys_of(account)]

    def _keys_of(self, account: SharedAccount) -> tuple[str, str]:
        kind = "budget" if account.past is not None else "lasting_budget"
        return f"{self._prefix}:{kind}:{account.name}", f"{self._prefix}:reservations:{account.name}"


def _limits(accounts: Sequence[SharedAccount], dollars: float, bases: dict[str, float]) -> list[str | int | float]:
    args: list[str | int | float] = []
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


def _place(account: SharedAccount) -> tuple[str, float]:
    """The account and its current window."""
    return account.name, time.time() // account.seconds


def _seconds(account: SharedAccount) -> float:
    return 0 if math.isinf(account.seconds) else account.seconds


def _nano(dollars: float, *, up: bool = False) -> int:
    return billionths(min(dollars, _LARGEST), up=up)


def _balance(spent: bytes, reserved: bytes) -> Balance:
    return Balance.of(int(spent), int(reserved))
