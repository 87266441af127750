"""The state of budgets in PostgreSQL, for a few replicas without Redis."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from anyrerank._core.pricing import Balance, BudgetState, Hold, RefusedError, SharedAccount, billionths
from anyrerank._core.runtime import Blocking, Flow
from anyrerank.errors import RerankError, StateUnavailableError
from anyrerank.gateway.keys.database import SERVER_TIME, Database, DatabaseError
from anyrerank.gateway.keys.tables import budgets, reservations

_log = logging.getLogger("anyrerank.gateway")

_HOLD_SECONDS = 900.0
"""How long a reservation lasts: that of a process that was killed comes back after it."""
_PAUSE = 0.5
"""Seconds until what could not be written is tried again."""
_LARGEST_GROUP = 256


@dataclass(frozen=True, slots=True)
class _Settlement:
    hold: Hold
    cost: float


@dataclass(frozen=True, slots=True)
class _Unknown:
    """An account that the database does not know, and the time there."""

    account: SharedAccount
    now: float

    def spent(self) -> float:
        """What it has spent in the current window."""
        account = self.account
        started = 0.0 if math.isinf(account.seconds) else _window(account, self.now) * account.seconds
        return 0.0 if account.past is None else account.past(started)


class DatabaseBudgets(BudgetState):
    """What accounts have spent, in PostgreSQL. Each reservation is a transaction of about half a millisecond.

    What calls have cost is written by a thread, in groups, and again until it succeeds.

    Args:
        database: Of the keys.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._settlements: queue.SimpleQueue[_Settlement | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="anyrerank-budgets", daemon=True)
        self._thread.start()

    @property
    def budgets(self) -> BudgetState:
        """Itself: a budget asks what it shares for this."""
        return self

    def __repr__(self) -> str:
        return f"DatabaseBudgets({str(self._database)!r})"

    def reserve(self, accounts: Sequence[SharedAccount], dollars: float) -> Flow[Hold]:
        """Reserve dollars in each account, or in none.

        Raises:
            RefusedError: One has too little left.
            StateUnavailableError: The database does not answer.
        """
        hold = Hold(uuid4().hex, accounts, dollars, ())
        try:
            bases: dict[str, float] = {}
            while True:
                found = yield Blocking(partial(self._reserve, hold, bases))
                if not isinstance(found, _Unknown):
                    return Hold(hold.id, accounts, dollars, found)
                bases[found.account.name] = yield Blocking(found.spent)
        except RefusedError:
            raise
        except (DatabaseError, RerankError) as error:
            raise StateUnavailableError(
                f"{error}, so it is not known whether the budget allows this call; try again", retry_after=1.0
            ) from None
        except BaseException:  # cut off: the thread goes on, and may have reserved
            self.settle(hold, 0.0)
            raise

    def settle(self, hold: Hold, cost: float) -> None:
        """Replace what was reserved by what was spent. It does not wait, and never raises."""
        self._settlements.put(_Settlement(hold, cost))

    def at_least(self, spent: Sequence[tuple[SharedAccount, float]]) -> None:
        """Let accounts have spent at least that in their current windows.

        Raises:
            DatabaseError: The database does not answer.
        """
        with self._database.begin() as connection:
            now = float(connection.scalar(sa.select(SERVER_TIME)) or 0.0)
            for account, dollars in sorted(spent, key=lambda each: each[0].name):  # always locked in the same order
                amount = billionths(dollars)
                which = (budgets.c.name == account.name, budgets.c.window_number == _window(account, now))
                connection.execute(sa.update(budgets).where(*which, budgets.c.spent < amount).values(spent=amount))

    def found(self, account: SharedAccount) -> Flow[Balance]:
        """What an account has spent and reserved.

        Raises:
            StateUnavailableError: The database does not answer.
        """
        hold = yield from self.reserve([account], 0.0)
        return hold.found[0]

    def close(self) -> None:
        """Write what is left, if the database answers."""
        self._settlements.put(None)
        self._thread.join()

    def _reserve(self, hold: Hold, bases: Mapping[str, float]) -> list[Balance] | _Unknown:
        """What the accounts have spent and reserved, or one that the database does not know."""
        amount = billionths(hold.dollars, up=True)
        refused: RefusedError | None = None
        with self._database.begin() as connection:
            now = float(connection.scalar(sa.select(SERVER_TIME)) or 0.0)
            if bases:
                _add(connection, hold.accounts, bases, now)
            rows = _locked(connection, [each.name for each in hold.accounts])
            if unknown := [each for each in hold.accounts if each.name not in rows]:
                return _Unknown(unknown[0], now)
            _release_expired(connection, rows, now)
            for index, account in enumerate(hold.accounts):
                row = rows[account.name]
                row.turn(_window(account, now), connection)
                if amount and row.spent + row.reserved + amount > billionths(account.dollars):
                    refused = refused or RefusedError(index, row.balance)
            if refused is None and amount:
                for account in hold.accounts:
                    rows[account.name].reserved += amount
                expires = now + _HOLD_SECONDS
                names = sorted({each.name for each in hold.accounts})
                values = [{"id": hold.id, "name": name, "amount": amount, "expires": expires} for name in names]
                connection.execute(sa.insert(reservations), values)
            _write(connection, rows)
        if refused is not None:
            raise refused
        return [rows[account.name].balance for account in hold.accounts]

    def _run(self) -> None:
        is_failing = is_closing = False
        while not is_closing:
            group = [self._settlements.get()]
            while len(group) < _LARGEST_GROUP and not self._settlements.empty():
                group.append(self._settlements.get())
            is_closing = None in group
            settlements = [each for each in group if each is not None]
            while settlements:
                try:
                    self._settle(settlements)
                    is_failing, settlements = False, []
                except DatabaseError as error:
                    if not is_failing:
                        _log.warning("%s; what calls have cost is written when it answers again", error)
                    is_failing = True
                    if is_closing:
                        break
                    threading.Event().wait(_PAUSE)

    def _settle(self, settlements: Sequence[_Settlement]) -> None:
        accounts = {account.name: account for each in settlements for account in each.hold.accounts}
        with self._database.begin() as connection:
            now = float(connection.scalar(sa.select(SERVER_TIME)) or 0.0)
            rows = _locked(connection, list(accounts))
            for name, row in rows.items():
                row.turn(_window(accounts[name], now), connection)
            ids = [each.hold.id for each in settlements]
            gone = sa.delete(reservations).where(reservations.c.id.in_(ids))
            for name, amount in connection.execute(gone.returning(reservations.c.name, reservations.c.amount)):
                if name in rows:
                    rows[name].reserved = max(0, rows[name].reserved - amount)
            for each in settlements:
                for account in each.hold.accounts:
                    if account.name in rows:
                        rows[account.name].spent += billionths(each.cost)
            _write(connection, rows)


@dataclass(slots=True)
class _Row:
    """A budget in its current window."""

    name: str
    window: int
    spent: int
    reserved: int

    @property
    def balance(self) -> Balance:
        return Balance.of(self.spent, self.reserved)

    def turn(self, window: int, connection: sa.Connection) -> None:
        """Begin a window, if it is another one than before."""
        if window != self.window:
            connection.execute(sa.delete(reservations).where(reservations.c.name == self.name))
            self.window, self.spent, self.reserved = window, 0, 0


def _window(account: SharedAccount, now: float) -> int:
    return 0 if math.isinf(account.seconds) else int(now // account.seconds)


def _locked(connection: sa.Connection, names: Sequence[str]) -> dict[str, _Row]:
    """The rows of budgets, which no other transaction changes until this one ends; always locked in the same order."""
    chosen = sa.select(budgets).where(budgets.c.name.in_(names)).order_by(budgets.c.name).with_for_update()
    return {row.name: _Row(*row) for row in connection.execute(chosen)}


def _add(connection: sa.Connection, accounts: Sequence[SharedAccount], bases: Mapping[str, float], now: float) -> None:
    for account in accounts:
        if account.name in bases:
            row = {
                "name": account.name,
                "window_number": _window(account, now),
                "spent": billionths(bases[account.name]),
                "reserved": 0,
            }
            connection.execute(insert(budgets).values(row).on_conflict_do_nothing())


def _release_expired(connection: sa.Connection, rows: Mapping[str, _Row], now: float) -> None:
    expired = sa.delete(reservations).where(reservations.c.name.in_(rows), reservations.c.expires <= now)
    for name, amount in connection.execute(expired.returning(reservations.c.name, reservations.c.amount)):
        rows[name].reserved = max(0, rows[name].reserved - amount)


def _write(connection: sa.Connection, rows: Mapping[str, _Row]) -> None:
    for row in rows.values():
        values = {"window_number": row.window, "spent": row.spent, "reserved": row.reserved}
        connection.execute(sa.update(budgets).where(budgets.c.name == row.name).values(values))
