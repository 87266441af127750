"""`Account`: the use and the spending of a key, and the admission of its requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from anyrerank._core.engine import Options
from anyrerank._core.pricing import Budget
from anyrerank._core.types import RerankResponse, prompt_of, reported_tokens, tokens_to_read
from anyrerank.gateway.dialects import ParsedRequest
from anyrerank.gateway.errors import GatewayError
from anyrerank.gateway.keys.key import Key
from anyrerank.gateway.keys.limits import Limits, Place
from anyrerank.gateway.keys.spend_history import SpendHistory
from anyrerank.gateway.keys.store import Customer
from anyrerank.gateway.rerank import Caller, Grant
from anyrerank.hooks import Hook


@dataclass(slots=True)
class Shared:
    """The hooks and the end users that all accounts share.

    Attributes:
        hooks: Record what calls cost.
        customers: End users with a budget of their own, and that budget.
        past: Reads what was spent by all replicas; `None` where there is only this process.
    """

    hooks: tuple[Hook, ...] = ()
    customers: Mapping[str, tuple[Customer, Budget | None]] = field(default_factory=dict)
    past: Callable[[], SpendHistory] | None = None


class Account:
    """A key with its budget, spending and use.

    Args:
        key: The key.
        shared: What all accounts share.
        limits: Counts its requests and tokens.
        caller: Its owner, without the account.
        tag: The tag of its calls in the ledger.
    """

    def __init__(self, key: Key, shared: Shared, limits: Limits, *, caller: Caller, tag: str) -> None:
        self.key = key
        self.budget: Budget | None = None
        self.spent = 0.0
        """US dollars in all time, without those of other replicas."""
        self.caller = replace(caller, account=self)
        self._shared = shared
        self.tag = tag
        self.limits = limits

    def total(self) -> float:
        """US dollars in the current window of the budget, or without one in all time, over all replicas. It may block.

        Raises:
            StateUnavailableError: What replicas share cannot be reached.
        """
        if self.budget is not None:
            return self.budget.spent()
        return self.spent if self._shared.past is None else self._shared.past().of("tag", self.tag)

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Count a request among those at the same time; a body that never arrives takes the place of another one.

        Raises:
            GatewayError: There are as many as the key may have.
        """
        ticket = await self.limits.enter(self.key)
        try:
            yield
        finally:
            self.limits.leave(ticket)

    @asynccontextmanager
    async def admitted(
        self, asked: ParsedRequest, options: Mapping[str, Any], defaults: Options
    ) -> AsyncIterator[Grant]:
        """Let a request in and count it.

        Args:
            asked: The request.
            options: Those of the call.
            defaults: Those that the router has for calls.

        Raises:
            GatewayError: A limit is reached, or the end user is blocked.
        """
        key = self.key
        paid = self._paid(options, defaults)
        tokens = 0 if key.tpm_limit is None else _to_read(asked, options)
        place = await self.limits.count(key, tokens)
        yield _Grant(self, {**options, **paid}, place, tokens)

    def headers(self) -> dict[str, str]:
        """The headers of an answer, with the spend of the key where it is known without a query to a server."""
        found = self.limits.headers(self.key)
        if self.budget is None and self._shared.past is None:
            found["x-litellm-key-spend"] = f"{self.spent:.12g}"
        if self.budget is not None and self.budget.is_known:
            found["x-litellm-key-spend"] = f"{self.budget.known.spent:.12g}"
            found["x-litellm-key-max-budget"] = f"{self.budget.dollars:.12g}"
            found["x-anyrerank-budget-remaining"] = f"{self.budget.known_left:.12g}"
        return found

    def settle(self, response: RerankResponse, place: Place, tokens: int) -> None:
        """Count what a response cost, in place of what was estimated."""
        if response.cost is not None:
            self.spent += response.cost
        if self.key.tpm_limit is not None:
            used = _tokens(response)
            if used is not None:
                self.limits.correct(place, used - tokens)

    def _paid(self, options: Mapping[str, Any], defaults: Options) -> dict[str, Any]:
        """The options for budgets and cost tracking, which no caller can set."""
        budgets = list(defaults.shared_budgets)
        if self.budget is not None:
            budgets.append(self.budget)
        paid: dict[str, Any] = {
            "metadata": {"tags": [self.tag]},
            "hooks": (*defaults.hooks, *self._shared.hooks),
        }
        customer, own = self._shared.customers.get(options.get("user") or "", (None, None))
        if customer is not None:
            if customer.blocked:
                raise GatewayError(kind="permission_error", message="this end user is blocked", param="user")
            if own is not None:
                budgets.append(own)
                paid["user_budget"] = None
        return paid | ({"budget": budgets} if budgets else {})


@dataclass(frozen=True, slots=True)
class _Grant:
    """A request that was let in."""

    account: Account
    options: Mapping[str, Any]
    place: Place
    tokens: int

    def settle(self, response: RerankResponse) -> None:
        self.account.settle(response, self.place, self.tokens)

    def headers(self) -> Mapping[str, str]:
        return self.account.headers()


def _to_read(asked: ParsedRequest, options: Mapping[str, Any]) -> int:
    """About how many tokens a request has, for every model that reads its instruction."""
    prompt = prompt_of(asked.query, options.get("instruction"))
    return tokens_to_read(prompt, asked.documents, options.get("rank_fields"))


def _tokens(response: RerankResponse) -> int | None:
    """Tokens that the provider reports, 0 if it was not asked, `None` to keep the estimate."""
    if not response.attempts:
        return 0
    found = reported_tokens(response.meta)
    return None if found is None else int(found)
