"""After Redis has lost data: letting budgets count all that the ledger knows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from anyrerank._core.pricing import Budget
from anyrerank.errors import RerankError
from anyrerank.gateway.keys.sharing import Sharing
from anyrerank.gateway.keys.spend_history import SpendHistory
from anyrerank.ledger import By, Ledger

_FLUSH_SECONDS = 3.0
"""How long others wait at most until the calls of this replica are in the database."""
_SETTLED_SECONDS = 1.0
"""Until what calls have cost is surely counted in Redis too: what the ledger knows must not be counted twice."""

PaidFrom: TypeAlias = tuple[Budget, By | None, str | None]
"""A budget, and what the ledger groups its calls by: a tag, an end user, a deployment or nothing."""


@dataclass(frozen=True, slots=True)
class _Spent:
    """What a budget has spent at least."""

    budget: Budget
    spender: str | None
    dollars: float


class Recovery:
    """What one replica does after Redis has lost data.

    Budgets that begin anew begin with what the database knows. So each replica first writes its calls there, and until
    it has, no replica lets a budget begin. Where Redis has older data, budgets are raised to what the database knows.

    Args:
        ledger: Knows what calls have cost.
        sharing: Where replicas count together.
        clock: Seconds that only go up.
    """

    def __init__(self, ledger: Ledger, sharing: Sharing, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._sharing = sharing
        self._clock = clock
        self._is_needed = False
        self._writing: threading.Thread | None = None
        self._known: Sequence[_Spent] = ()
        self._known_at = 0.0

    def begin(self) -> None:
        """Let `step` raise the budgets."""
        self._is_needed = True

    def write_calls(self) -> threading.Thread:
        """Start to write what calls have cost, before which no budget begins anew; returns the thread that does it.

        Raises:
            RedisUnavailableError: Redis does not answer.
        """
        self._sharing.owe()
        self._writing = threading.Thread(target=self._write, daemon=True)
        self._writing.start()
        return self._writing

    def step(self, budgets: Iterable[PaidFrom]) -> None:
        """Do what is due; to be called every half second.

        Raises:
            LedgerError: The database cannot be read.
        """
        if self._known and self._clock() - self._known_at >= _SETTLED_SECONDS:
            for each in self._known:
                each.budget.at_least(each.dollars, each.spender)
            self._known = ()
        if self._is_needed:
            self._ledger.flush()
            self._sharing.owe_nothing()
            known = list(_spent(budgets, SpendHistory(self._ledger)))
            self._known, self._known_at, self._is_needed = known, self._clock(), False

    def _write(self) -> None:
        with suppress(RerankError):  # then `step` does it as soon as the database answers
            self._ledger.flush()
            if threading.current_thread() is self._writing:  # or there was another loss meanwhile
                self._sharing.owe_nothing()


def wait_for(writing: threading.Thread) -> None:
    """Wait for the thread of `write_calls`, but not for longer than others wait."""
    writing.join(_FLUSH_SECONDS)


def _spent(budgets: Iterable[PaidFrom], past: SpendHistory) -> Iterable[_Spent]:
    for budget, by, name in budgets:
        if by == "user" and name is None:
            for user, dollars in past.each(by, budget.started).items():
                yield _Spent(budget, user, dollars)
        elif dollars := past.of(by, name, budget.started):
            yield _Spent(budget, None, dollars)
