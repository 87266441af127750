"""After Redis has lost data: letting budgets count all that the ledger knows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from anyrerank.errors import RerankError
from anyrerank.gateway.keys.sharing import Sharing
from anyrerank.gateway.keys.spend_history import PaidFrom, SpendHistory, raise_budgets
from anyrerank.ledger import Ledger

_FLUSH_SECONDS = 3.0
"""How long others wait at most until the calls of this replica are in the database."""
_RAISED_AFTER = (1.0, 3.0, 6.0)
"""Seconds: first when Redis has surely counted what calls have cost, which must not count twice, and later when the
latest calls of all replicas are in the database."""


class Recovery:
    """What one replica does after Redis has lost data.

    Budgets that begin anew begin with what the database knows. So each replica first writes its calls there, and until
    it has, no replica lets a budget begin. Where Redis has older data, budgets are raised to what the database knows.

    Args:
        ledger: Knows what calls have cost.
        sharing: Where replicas count together.
        clock: Seconds that only go up.
        written: What to tell the others once the calls of this replica are in the database.
    """

    def __init__(self, ledger: Ledger, sharing: Sharing, clock: Callable[[], float], written: dict[str, Any]) -> None:
        self._ledger = ledger
        self._sharing = sharing
        self._clock = clock
        self._written = written
        self._is_owing = False
        self._due: Sequence[float] = ()

    def begin(self) -> None:
        """Let `step` raise the budgets a few times."""
        now = self._clock()
        self._due = [now + seconds for seconds in _RAISED_AFTER]

    def again(self) -> None:
        """Let `step` raise the budgets a few times more, and do not put off what is due."""
        now = self._clock()
        first, *later = [now + seconds for seconds in _RAISED_AFTER]
        self._due = [min([*self._due[:1], first]), *later]

    def once(self) -> None:
        """Let `step` raise the budgets at least once."""
        if not self._due:
            self._due = [self._clock()]

    def write_calls(self) -> threading.Thread:
        """Start to write what calls have cost, before which no budget begins anew; returns the thread that does it.

        Raises:
            RedisUnavailableError: Redis does not answer.
        """
        self._sharing.owe()
        self._is_owing = True
        writing = threading.Thread(target=self._write, daemon=True)
        writing.start()
        return writing

    def step(self, budgets: Iterable[PaidFrom]) -> None:
        """Do what is due; to be called every half second.

        Raises:
            LedgerError: The database cannot be read.
        """
        if self._is_owing:
            self._pay()
        if self._due and self._clock() >= self._due[0]:
            due = self._due
            raise_budgets(budgets, SpendHistory(self._ledger))
            self._due = [each for each in self._due if each not in due[:1]]

    def _pay(self) -> None:
        self._is_owing = False  # first: there may be another loss meanwhile
        try:
            self._ledger.flush()
        except RerankError:
            self._is_owing = True
            raise
        if not self._is_owing:
            self._sharing.owe_nothing()
            self._sharing.tell(self._written)

    def _write(self) -> None:
        with suppress(RerankError):  # then `step` does it as soon as the database answers
            self._pay()


def wait_for(writing: threading.Thread) -> None:
    """Wait for the thread of `write_calls`, but not for longer than others wait."""
    writing.join(_FLUSH_SECONDS)
