"""Spending before a restart, from the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import TypeAlias

from anyrerank._core.client import Router
from anyrerank._core.pricing import Budget, BudgetState, SharedAccount
from anyrerank.gateway.keys.configuration_parts import all_budgets
from anyrerank.gateway.keys.sharing import Sharing
from anyrerank.ledger import By, Ledger


class SpendHistory:
    """Spending before a restart, read from the ledger with one query for each grouping and window.

    Args:
        ledger: The ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._found: dict[tuple[By, float], Mapping[str | None, float]] = {}

    def of(self, by: By | None, name: str | None, started: float = 0.0) -> float:
        """US dollars that were spent.

        Args:
            by: `"tag"`, `"user"`, `"deployment"`, or `None` for everything.
            name: The tag, end user or deployment.
            started: Since when, in seconds since 1970; 0 for ever.
        """
        if by is None:
            return self._ledger.total(since=_since(started))
        return self.each(by, started).get(name, 0.0)

    def add_to(self, budget: Budget, by: By | None, name: str | None) -> None:
        """Count in a budget of the router what was spent in its current window; see `of`."""
        if by != "user":
            budget.add(self.of(by, name, budget.started))
            return
        for user, dollars in self.each(by, budget.started).items():
            if user is not None:
                budget.add(dollars, user)

    def each(self, by: By, started: float) -> Mapping[str | None, float]:
        """US dollars that were spent in each group; see `of`."""
        if (by, started) not in self._found:
            rows = self._ledger.spend(by=by, since=_since(started))
            self._found[by, started] = {row.group[by]: row.cost or 0.0 for row in rows}
        return self._found[by, started]


PaidFrom: TypeAlias = tuple[Budget, By | None, str | None]
"""A budget, and what the ledger groups its calls by, as for `SpendHistory.of`."""


def raise_budgets(budgets: Iterable[PaidFrom], past: SpendHistory) -> None:
    """Let shared budgets have spent at least what the ledger knows of their current window.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    spent: list[tuple[BudgetState, SharedAccount, float]] = []
    for budget, by, name in budgets:
        if (state := budget.shared_in) is not None:
            spent += [(state, budget.account(user), dollars) for user, dollars in _known(budget, by, name, past)]
    for state in {id(each): each for each, _, _ in spent}.values():
        state.at_least([(account, dollars) for other, account, dollars in spent if other is state])


def _known(budget: Budget, by: By | None, name: str | None, past: SpendHistory) -> Iterable[tuple[str | None, float]]:
    """Each spender of a budget, `None` for everyone, and what it has spent, without those who have spent nothing."""
    if by == "user" and name is None:
        return [
            (user, dollars) for user, dollars in past.each(by, budget.started).items() if user is not None and dollars
        ]
    dollars = past.of(by, name, budget.started)
    return [(None, dollars)] if dollars else []


def _since(started: float) -> datetime | None:
    return datetime.fromtimestamp(started, timezone.utc) if started else None


def restore(
    router: Router, ledger: Ledger | None, before: Router | None = None, sharing: Sharing | None = None
) -> None:
    """Let the budgets of a router and of its deployments go on where they were.

    Args:
        router: The router.
        ledger: Knows what was spent before this process started.
        before: The router that it replaces in this process: it knows more, such as what its calls in flight will cost.
        sharing: Where replicas count together.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    past = None if ledger is None else SpendHistory(ledger)
    known = {} if before is None else all_budgets(before)
    for place, budget in all_budgets(router).items():
        budget.owner = place[0] or "gateway"
        if sharing is not None:
            by, name = place
            budget.share(sharing, f"{by or 'router'}:{name or 'each'}", spent_before(ledger, by, name, sharing))
            if past is not None and not (place in known and known[place].window == budget.window):
                raise_budgets([(budget, by, name)], past)  # calls were made while it did not count
            continue
        goes_on = place in known and budget.succeed(known[place])
        if past is not None and not goes_on:
            past.add_to(budget, *place)


def spent_before(
    ledger: Ledger | None, by: By | None, name: str | None, sharing: Sharing
) -> Callable[[str | None, float], float] | None:
    """What was spent since a window started, for a state that does not know it, read when it is asked."""
    if ledger is None:
        return None

    def past(spender: str | None, started: float) -> float:
        sharing.check_nothing_is_owed()
        since = _since(started)
        if by == "tag":
            return ledger.total(since=since, tag=name)
        if by == "user":
            return ledger.total(since=since, user=name or spender)
        return SpendHistory(ledger).of(by, name, started)

    return past
