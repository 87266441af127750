"""The keys of a gateway: in memory for its requests, and in the database for the next process and for others."""

from __future__ import annotations

import hmac
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from starlette.types import Scope

from anyrerank._core.pricing import Budget
from anyrerank.errors import RerankError
from anyrerank.gateway.errors import GatewayError
from anyrerank.gateway.keys.account import Account, Shared
from anyrerank.gateway.keys.database import DatabaseError
from anyrerank.gateway.keys.key import Key
from anyrerank.gateway.keys.limits import Limits
from anyrerank.gateway.keys.networks import Networks
from anyrerank.gateway.keys.recovery import Recovery, wait_for
from anyrerank.gateway.keys.sharing import Sharing
from anyrerank.gateway.keys.spend_history import PaidFrom, SpendHistory, raise_budgets, spent_before
from anyrerank.gateway.keys.store import Customer, Store
from anyrerank.gateway.rerank import ANONYMOUS, MASTER, Caller, digest, key_of, wrong_key
from anyrerank.ledger import By, Ledger

_log = logging.getLogger("anyrerank.gateway")

_INTERVAL = 0.5
_CHANGED = {"changed": "keys"}
_WRITTEN = {"written": "calls"}
_SILENT_SECONDS = 5.0
"""A database that has not answered for so long is failing: a statement may hang for longer than that."""
_RENEWAL_SECONDS = 10.0
_NOBODY = Key(token="", key_name="")


class Keyring:
    """Finds out who calls, and counts what each key uses. An `Access`.

    Requests read what is in memory. `refresh` reads the database again if something in it changed; `start` does so
    every half second, so that a change by the command line or by another gateway counts soon.

    Args:
        store: The keys.
        ledger: Records what calls cost, and knows what they cost before a restart.
        master_key: The key that may do everything; `None` if everybody may.
        networks: Networks that need no key, and the alias of the key that counts for them.
        max_parallel_requests: The limit of keys that have none of their own.
        sharing: Counts for all replicas of the gateway.
        clock: Seconds since 1970.
        monotonic: Seconds that only go up.

    Raises:
        ConfigurationError: One of `networks` is no network.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        *,
        master_key: str | None,
        networks: Mapping[str, str] | None = None,
        max_parallel_requests: int | None = None,
        sharing: Sharing | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.sharing = sharing
        self._recovery = None if sharing is None else Recovery(ledger, sharing, monotonic, _WRITTEN)
        self.configure(master_key=master_key, networks=networks, max_parallel_requests=max_parallel_requests)
        self._clock = clock
        self._behind = 0.0
        """Seconds that the clock of the database is ahead."""
        self._monotonic = monotonic
        self._shared = Shared((ledger,), past=None if sharing is None else lambda: SpendHistory(ledger))
        self._master = self._everything(MASTER)
        self._anonymous = self._everything(replace(ANONYMOUS, alias="anonymous"))
        self._accounts: Mapping[str, Account] = {}
        self._aliases: dict[str, Account] = {}
        self._opened = clock()
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False
        self._is_restored = False
        self._answered = self._renewed = monotonic()

    def configure(
        self,
        *,
        master_key: str | None,
        networks: Mapping[str, str] | None,
        max_parallel_requests: int | None,
        budgets: Mapping[tuple[By | None, str | None], Budget] | None = None,
    ) -> None:
        """Take over what a configuration file says, which may change while the gateway runs.

        Args:
            master_key, networks, max_parallel_requests: As for the constructor.
            budgets: Those of the router, and what each is for.
        """
        self._router_budgets = budgets or {}
        if self._recovery is not None:
            self._recovery.begin()
        self._networks = Networks(networks or {})
        self._digest = None if master_key is None else digest(master_key)
        self._parallel = max_parallel_requests
        self._seen: int | None = None

    def now(self) -> float:
        """Seconds since 1970, for all replicas by the same clock."""
        return self._clock() + self._behind

    def is_master(self, secret: str) -> bool:
        """Whether a key is the master key."""
        return self._digest is not None and hmac.compare_digest(digest(secret), self._digest)

    @property
    def is_open(self) -> bool:
        """Whether no key is needed, because there is no master key."""
        return self._digest is None

    @property
    def is_failing(self) -> bool:
        """Whether the database could not be read when it was last asked, or does not answer."""
        silent = self._thread is not None and self._monotonic() - self._answered > _SILENT_SECONDS
        return self._failing or silent

    def caller(self, scope: Scope) -> Caller:
        """The caller of a request.

        Raises:
            GatewayError: It has no key, or one that is unknown, expired or blocked.
        """
        try:
            given = digest(key_of(scope))
        except GatewayError:
            alias = self._networks.alias(scope)
            if alias is not None:
                return self._valid(self._aliases.get(alias))
            if self._digest is None:
                return self._anonymous.caller
            raise
        if self._digest is not None and hmac.compare_digest(given, self._digest):
            return self._master.caller
        account = self._accounts.get(given.hex())
        if account is None and self._digest is None:
            return self._anonymous.caller
        return self._valid(account)

    def accounts(self) -> list[Account]:
        """What each key has used, in the order in which they were made."""
        return list(self._accounts.values())

    def account(self, token: str) -> Account | None:
        """What a key has used."""
        return self._accounts.get(token)

    def customer(self, user: str) -> tuple[Customer, Budget | None] | None:
        """An end user with a budget of its own."""
        return self._shared.customers.get(user)

    def start(self) -> None:
        """Read the keys, and read them again whenever they change.

        Raises:
            DatabaseError: They cannot be read.
        """
        self.refresh()
        if self.sharing is not None:
            self.sharing.listen(self)
        self._answered = self._monotonic()
        self._thread = threading.Thread(target=self._run, name="anyrerank-keys", daemon=True)
        self._thread.start()

    def changed(self) -> None:
        """Read the keys again after this process has changed them, and let other replicas do so.

        Raises:
            DatabaseError, LedgerError: They cannot be read.
        """
        if self.sharing is not None:
            self.sharing.tell(_CHANGED)
        self.refresh()

    def connected(self) -> None:
        """Other replicas may have changed keys meanwhile."""
        self._changed.set()

    def received(self, message: Mapping[str, Any]) -> None:
        """Another replica has changed keys, or written calls that Redis may not know."""
        if message == _CHANGED:
            self._changed.set()
        elif message == _WRITTEN and self._recovery is not None:
            self._recovery.once()  # this process alone knows its own latest calls

    def lost(self, loss: str | None) -> None:
        """Give back what calls have used and cost, to Redis and to the database that it asks."""
        writing = None if self._recovery is None else self._recovery.write_calls()
        if loss is not None:
            for account in self._accounts.values():
                account.limits.give_back(loss)
        if writing is not None:
            wait_for(writing)
        self._renewed = -math.inf  # who runs is lost too
        if self._recovery is not None:
            self._recovery.begin()
        self._changed.set()

    def _budgets(self) -> Iterator[PaidFrom]:
        for account in self._accounts.values():
            if account.budget is not None:
                yield account.budget, "tag", account.tag
        for user, (_, budget) in self._shared.customers.items():
            if budget is not None:
                yield budget, "user", user
        for (by, name), budget in self._router_budgets.items():
            yield budget, by, name

    def close(self) -> None:
        """Stop reading changes, and write what is left of the ledger."""
        if self.sharing is not None:
            self.sharing.close()
        self._stop.set()
        self._changed.set()
        if self._thread is None:
            self.store.database.close()
        else:
            self._thread.join(_SILENT_SECONDS)  # it only reads, and its statement may hang
        self.ledger.close()

    def refresh(self) -> None:
        """Read the keys if they changed. Blocks: to be used in a thread.

        Raises:
            DatabaseError, LedgerError: They cannot be read.
        """
        with self._refreshing:
            change, now = self.store.change()
            if now is not None and self.sharing is not None:
                self._behind = now - self._clock()
            if self._seen is not None and change == self._seen:
                return
            number, keys, customers = self.store.all()
            known = {each.key.identity: each for each in self._accounts.values()}
            # What is taken away counts first: to read the ledger may take a while.
            for key in keys:
                if key.identity in known:
                    self._change(known[key.identity], key)
            self._publish({each.token: known[each.identity] for each in keys if each.identity in known})
            past = SpendHistory(self.ledger)
            self._restore_everything(past)
            accounts = {each.token: known.get(each.identity) or self._new(each, past) for each in keys}
            for account in accounts.values():
                self._renew_budget(account, past)
            before = self._shared.customers
            self._shared.customers = {each.user_id: (each, self._customers_budget(each, past)) for each in customers}
            self._raise_budget_of_users(before.keys() - self._shared.customers.keys(), past)
            self._publish(accounts)
            self._seen = number

    def _publish(self, accounts: Mapping[str, Account]) -> None:
        """Let these keys be valid, and no others."""
        self._accounts = accounts
        self._aliases = {each.key.key_alias: each for each in accounts.values() if each.key.key_alias is not None}

    def _change(self, account: Account, key: Key) -> None:
        """Give an account the new row of its key, but not yet its budget."""
        if key.max_parallel_requests is None:
            key = replace(key, max_parallel_requests=self._parallel)
        account.key = key
        account.caller = Caller(
            owner=key.identity,
            alias=key.key_alias or key.key_name,
            models=key.models or None,
            user=key.end_user,
            guardrails=key.guardrails,
            account=account,
        )
        if account.budget is not None and key.max_budget is not None:
            account.budget.dollars = key.max_budget

    def _new(self, key: Key, past: SpendHistory) -> Account:
        account = Account(key, self._shared, self._limits(key), caller=Caller(), tag=key.tag)
        self._change(account, key)
        if key.created_at < self._opened:
            account.spent = past.of("tag", key.tag)
        return account

    def _limits(self, key: Key) -> Limits:
        return Limits(self._monotonic) if self.sharing is None else self.sharing.limits(key.identity, self._monotonic)

    def _renew_budget(self, account: Account, past: SpendHistory) -> None:
        key = account.key
        if key.max_budget is None:
            account.budget = None
        elif account.budget is None or account.budget.window != key.budget_duration:
            budget = Budget(key.max_budget, key.budget_duration)
            budget.owner = "key"
            if self.sharing is not None:
                past_of_key = spent_before(self.ledger, "tag", key.tag, self.sharing)
                budget.share(self.sharing, f"key:{key.identity}", past_of_key)
                if key.token in self._accounts:  # it had no budget, or another window
                    self._raise_new((budget, "tag", key.tag), past)
            elif key.created_at < self._opened or account.spent:
                budget.add(past.of("tag", key.tag, budget.started))
            account.budget = budget

    def _customers_budget(self, customer: Customer, past: SpendHistory) -> Budget | None:
        if customer.max_budget is None:
            return None
        _, before = self._shared.customers.get(customer.user_id, (None, None))
        if before is not None and before.window == customer.budget_duration:
            before.dollars = customer.max_budget
            return before
        budget = Budget(customer.max_budget, customer.budget_duration)
        budget.owner = "end user"
        if self.sharing is not None:
            name = f"customer:{digest(customer.user_id).hex()}"
            budget.share(self.sharing, name, spent_before(self.ledger, "user", customer.user_id, self.sharing))
            self._raise_new((budget, "user", customer.user_id), past)  # it may have had none, or another window
        else:
            budget.add(past.of("user", customer.user_id, budget.started))
        return budget

    def _raise_new(self, budget: PaidFrom, past: SpendHistory) -> None:
        """Let a budget that did not count until now have spent what the ledger knows."""
        raise_budgets([budget], past)
        self._raise_later()

    def _raise_later(self) -> None:
        """Raise budgets again when calls that are in flight now are in the ledger."""
        if self._recovery is not None:
            self._recovery.again()

    def _raise_budget_of_users(self, users: Collection[str], past: SpendHistory) -> None:
        """Let the budget that each end user has count what users have spent who had one of their own."""
        budget = self._router_budgets.get(("user", None))
        state = None if budget is None else budget.shared_in
        if budget is not None and state is not None and users:
            state.at_least([(budget.account(user), past.of("user", user, budget.started)) for user in users])
            self._raise_later()

    def _everything(self, caller: Caller) -> Account:
        """The account of a caller that has no limits."""
        return Account(_NOBODY, self._shared, Limits(self._monotonic), caller=caller, tag=f"key:{caller.alias}")

    def _restore_everything(self, past: SpendHistory) -> None:
        """Let the accounts without limits know once what they have spent before."""
        if not self._is_restored:
            for account in (self._master, self._anonymous):
                account.spent += past.of("tag", account.tag)
            self._is_restored = True

    def _valid(self, account: Account | None) -> Caller:
        if account is None:
            raise wrong_key("it is unknown or revoked")
        if account.key.blocked:
            raise wrong_key("it is blocked; who runs the gateway can unblock it")
        if account.key.expires is not None and self.now() >= account.key.expires:
            raise wrong_key("it has expired")
        return account.caller

    def _renew(self) -> None:
        if self.sharing is not None and self._monotonic() - self._renewed > _RENEWAL_SECONDS:
            self.sharing.renew()
            self._renewed = self._monotonic()

    def _run(self) -> None:
        while True:
            self._changed.wait(_INTERVAL)
            self._changed.clear()
            if self._stop.is_set():
                self.store.database.close()
                return
            try:
                self._renew()
                self.refresh()
                if self._recovery is not None:
                    self._recovery.step(self._budgets())
            except (DatabaseError, RerankError) as error:
                if not self._failing:
                    _log.warning("the keys cannot be read again: %s; those in memory stay valid", error)
                self._failing = True
            else:
                if self._failing:
                    _log.warning("the database %s answers again", self.store.database)
                self._failing = False
                self._answered = self._monotonic()
