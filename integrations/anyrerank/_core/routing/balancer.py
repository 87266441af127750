"""`Balancer`: a call to several deployments, with load balancing, retries and fallbacks."""

from __future__ import annotations

import logging
import math
import random
import time
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from anyrerank._core.engine import Call, Deployment, RetryPolicy, ask, guarded_query, is_cached, retryable, wait_before
from anyrerank._core.pricing import estimate_cost
from anyrerank._core.routing.decisions import Ask, Decision, WaitUntil, decide
from anyrerank._core.routing.failures import FailedAttempt, all_failed, no_price, summary
from anyrerank._core.routing.groups import Entry, Group
from anyrerank._core.routing.load import available_at
from anyrerank._core.routing.outcomes import needs_of, outcome_of
from anyrerank._core.routing.state import Claim, Outcome, RoutingState, Snapshot
from anyrerank._core.routing.strategies import Basis, Strategy, Target
from anyrerank._core.routing.window import Need
from anyrerank._core.runtime import Deadline, Flow, Invoke, Scope, Sender, Sleep
from anyrerank._core.types import Answer
from anyrerank.errors import APITimeoutError, GuardrailRaisedError, RateLimitError, RerankError

_log = logging.getLogger("anyrerank")

_MAX_NAMES = 1_000
"""Maximum number of entries to store: only names that callers send for a wildcard can exceed it."""
_WARN_AGAIN = 60.0
"""Seconds between two warnings about the same fallback or cooldown."""
_warned: MutableMapping[Sender, dict[tuple[str, ...], float]] = WeakKeyDictionary()
"""Time of each warning by its subject; not stored in a balancer, as `anyrerank.rerank` has a new one for each call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Settings of a `Balancer`; `anyrerank.Router` describes each of them."""

    strategy: Strategy
    counts_tokens: bool = False
    buffer: float = 0.0
    retry_after: float = 0.0
    max_wait: float = 60.0


class Balancer:
    """Chooses deployments for calls, and records how these end.

    Args:
        rules: Its settings.
        state: The routing state that its calls share.
        sender: The sender of its deployments, except those with other certificates.
    """

    def __init__(self, rules: Rules, state: RoutingState, sender: Sender) -> None:
        self.rules = rules
        self.state = state
        self.sender = sender
        self._warned = _warned.setdefault(sender, {})
        self._faults: dict[str, RerankError] = {}
        self._cooldowns: Counter[str] = Counter()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Balancer, (self.rules, self.state, self.sender))

    def choose(self, call: Call, groups: Sequence[Group]) -> Flow[tuple[Deployment, Answer]]:
        """The answer of the first group in which a deployment answers.

        Where a budget needs a price that is not known, another deployment of the same group may answer, but no other
        group: the price is for the operator to set, and a fallback would hide that.

        Args:
            call: The call.
            groups: In the order in which they are asked.

        Raises:
            RerankError: A single attempt failed.
            FallbackError: Several attempts failed.
        """
        failed: list[FailedAttempt] = []
        for number, group in enumerate(groups):
            left = len(groups) - number - 1
            flow = _GroupCall.start(self, call, group, failed, is_first=number == 0, groups_left=left)
            found = yield from flow.answer()
            if found is None:
                if no_price(failed):
                    break
                continue
            entry, answer = found
            if number > 0:
                self._warn(groups[0], entry, failed)
            return entry.deployment, answer
        raise all_failed(failed, call.attempts)

    def fault(self, entry_id: str) -> RerankError | None:
        """The last failure of an entry that has not answered since."""
        return self._faults.get(entry_id)

    def cooldowns(self, entry_id: str) -> int:
        """Number of cooldowns of an entry that began with a call of this process."""
        return self._cooldowns[entry_id]

    def ended(self, entry: Entry, outcome: Outcome, error: RerankError | None) -> None:
        """Store how a call to an entry ended."""
        if outcome.answered:
            self._faults.pop(entry.id, None)
        elif error is not None and outcome.failure is not None:
            if len(self._faults) >= _MAX_NAMES:
                self._faults.clear()
            self._faults[entry.id] = copy(error)  # a copy holds no frames of the call

    def began_to_cool_down(self, entry: Entry) -> None:
        """Count a cooldown."""
        if len(self._cooldowns) >= _MAX_NAMES and entry.id not in self._cooldowns:
            self._cooldowns.clear()
        self._cooldowns[entry.id] += 1

    def warn(self, message: str) -> None:
        """Log a warning, the same one once a minute."""
        if self.may_warn(message):
            _log.warning("%s", message)

    def _warn(self, first: Group, entry: Entry, failed: Sequence[FailedAttempt]) -> None:
        """Log that a fallback answered, once a minute for each pair; a model that was skipped counts as another one."""
        skipped = ["skipped"] if not any(each.requests for each in failed) else []
        if self.may_warn(first.name, entry.label, *skipped):
            _log.warning("%s answered as a fallback for %s: %s", entry.label, first.name, summary(failed))

    def may_warn(self, *about: str) -> bool:
        """Whether there was no warning about the same in the last minute."""
        now = time.monotonic()
        if now - self._warned.get(about, -math.inf) < _WARN_AGAIN:
            return False
        if len(self._warned) >= _MAX_NAMES:
            self._warned.clear()
        self._warned[about] = now
        return True


@dataclass(slots=True, kw_only=True)
class _GroupCall:
    """One group in one call.

    Attributes:
        is_first: Whether it is the group that the call asked for, not a fallback.
        groups_left: Number of groups that can be asked after this one.
        deadline: When this group must have answered.
        needs: Estimated requests and tokens of the call at each entry.
        failed: The failures of all groups so far.
        not_before: When an entry can be asked again, on the monotonic clock, or `None` for never.
        slow: Entries that timed out.
        retries: Number of failed attempts.
    """

    balancer: Balancer
    call: Call
    group: Group
    is_first: bool
    groups_left: int
    policy: RetryPolicy
    deadline: Deadline
    needs: Mapping[Entry, Need]
    failed: list[FailedAttempt]
    not_before: dict[Entry, float | None] = field(default_factory=dict)
    slow: set[Entry] = field(default_factory=set)
    retries: int = 0

    @classmethod
    def start(
        cls,
        balancer: Balancer,
        call: Call,
        group: Group,
        failed: list[FailedAttempt],
        *,
        is_first: bool,
        groups_left: int,
    ) -> _GroupCall:
        policy = RetryPolicy(max_retries=call.options.max_retries, longest_wait=balancer.rules.max_wait)
        attempts = min(len(group.entries), 1 + policy.max_retries)
        return cls(
            balancer=balancer,
            call=call,
            group=group,
            is_first=is_first,
            groups_left=groups_left,
            policy=policy,
            deadline=call.deadline.share((attempts + groups_left) / attempts),
            needs=needs_of(call, group, counts_tokens=balancer.rules.counts_tokens),
            failed=failed,
        )

    def answer(self) -> Flow[tuple[Entry, Answer] | None]:
        """The answer of an entry; `None` if no entry is left to ask."""
        while (claimed := (yield from self._claimed())) is not None:
            entry, claim = claimed
            before = len(self.call.attempts)
            try:
                return entry, (yield from self._asked(entry, claim))
            except GuardrailRaisedError:
                raise
            except RerankError as error:
                requests = len(self.call.attempts) - before
                self._fail(entry, error, requests)
                if not requests and not retryable(error):
                    continue  # nothing was sent, so this was no attempt
            self.retries += 1
            pause = self.balancer.rules.retry_after
            if self._is_exhausted(claim.need) or not self.deadline.allows(pause):
                return None
            if pause:
                yield Sleep(pause)
        return (yield from self._cached())

    def _cached(self) -> Flow[tuple[Entry, Answer] | None]:
        """The answer of an entry that cannot be asked now, if the cache has all its scores."""
        for entry in self.group.entries:
            own = entry.deployment.own
            if entry in self.not_before or (own is not None and own.guardrails):
                continue
            if (yield from is_cached(self.call, entry.deployment, self.call.query)):
                return entry, (yield from self._sent(entry, Claim(entry.id, self.needs[entry], 0.0)))
        return None

    def _is_exhausted(self, need: Need) -> bool:
        """Whether nothing is left to try; a call of several requests was retried request by request already."""
        retried = need.requests > 1 and len(self.group.entries) == 1
        return retried or self.retries > self.policy.max_retries

    def _claimed(self) -> Flow[tuple[Entry, Claim] | None]:
        """The entry to ask now, once one is available; `None` if there is none, or it would take too long."""
        state = self.balancer.state
        ids = [entry.id for entry in self.group.entries]
        while True:
            snapshot: Snapshot = yield Invoke(partial(state.snapshot, ids), partial(state.asnapshot, ids))
            decision = self._decided(snapshot)
            if isinstance(decision, Ask):
                entry = self.group.entries[decision.index]
                arguments = (entry.id, entry.terms, self.needs[entry], decision.risk)
                claim: Claim | None = yield Invoke(partial(state.claim, *arguments), partial(state.aclaim, *arguments))
                if claim is not None:
                    return entry, claim
                continue  # another call was faster: decide again
            seconds = decision.when - snapshot.now if isinstance(decision, WaitUntil) else None
            if seconds is None or self._is_too_long(seconds, snapshot):
                if len(self.not_before) < len(self.group.entries):
                    self.failed.append(FailedAttempt(self.group.name, _unavailable(self.group.name, seconds), 0))
                return None
            yield Sleep(seconds)

    def _decided(self, snapshot: Snapshot) -> Decision:
        rules = self.balancer.rules
        targets = [self._target(entry, snapshot) for entry in self.group.entries]
        basis = Basis(random.random, rules.buffer)
        return decide(targets, rules.strategy, basis, snapshot.now, last=self.groups_left == 0)

    def _target(self, entry: Entry, snapshot: Snapshot) -> Target:
        again = self.not_before.get(entry, -math.inf)
        if again is not None:  # from the clock of this process to that of the state
            again += snapshot.now - time.monotonic()
        return Target(
            terms=entry.terms,
            load=snapshot.loads[entry.id],
            need=self.needs[entry],
            not_before=again,
            tried=entry in self.not_before,
            cost=partial(self._cost, entry),
        )

    def _cost(self, entry: Entry) -> float | None:
        with suppress(RerankError):  # it has no key; the error is raised when it is asked
            price = entry.deployment.price()
            return estimate_cost(price, self.call.query, self.call.candidates.documents, self.call.options.rank_fields)
        return None

    def _asked(self, entry: Entry, claim: Claim) -> Flow[Answer]:
        """The answer of a claimed entry; the claim is settled however the call ends."""
        call, before, began = self.call, len(self.call.attempts), time.monotonic()
        named = call.provider, call.model
        if self.is_first and not call.attempts:
            call.provider, call.model = entry.deployment.provider, entry.deployment.model

        def outcome(answer: Answer | None = None, error: RerankError | None = None) -> Outcome:
            return outcome_of(call.attempts[before:], claim.need, time.monotonic() - began, answer, error)

        try:
            answer = yield from self._sent(entry, claim)
        except RerankError as error:
            if not call.attempts:  # it was not asked
                call.provider, call.model = named
            yield from self._settled(entry, claim, outcome(error=error), error)
            raise
        except BaseException:  # cut off: a cancelled task cannot await anything
            self.balancer.state.settle(claim, outcome())
            raise
        yield from self._settled(entry, claim, outcome(answer))
        return answer

    def _settled(self, entry: Entry, claim: Claim, outcome: Outcome, error: RerankError | None = None) -> Flow[None]:
        state = self.balancer.state
        self.balancer.ended(entry, outcome, error)
        try:
            cools_down: bool = yield Invoke(
                partial(state.settle, claim, outcome), partial(state.asettle, claim, outcome)
            )
        except BaseException:  # cut off just now: settling twice does no harm
            state.settle(claim, outcome)
            raise
        if cools_down and error is not None:
            self.balancer.began_to_cool_down(entry)
            if self.balancer.may_warn("cooldown", entry.label, type(error).__name__):
                _log.warning("%s starts to cool down: %s: %s", entry.label, type(error).__name__, error.message)

    def _sent(self, entry: Entry, claim: Claim) -> Flow[Answer]:
        """The answer of an entry within its share of the time, sent with its own connections."""
        call, deployment = self.call, entry.deployment
        query = call.query
        if deployment.own is not None:
            query = yield from guarded_query(query, deployment.own.guardrails)
        retries = self.policy.max_retries - self.retries if claim.need.requests > 1 else 0
        flow = ask(call, deployment, query, replace(self.policy, max_retries=retries))
        sender = None if deployment.sender is self.balancer.sender else deployment.sender
        answer: Answer = yield Scope(flow, self._deadline(entry), sender)
        return answer

    def _deadline(self, entry: Entry) -> Deadline:
        """An equal share of the remaining time: other entries may have to be asked after this one."""
        others = sum(each is not entry and self._can_follow(each) for each in self.group.entries)
        share = self.deadline.share(1 + min(others, self.policy.max_retries - self.retries))
        own = entry.terms.timeout
        return share if own is None else share.earliest(Deadline.after(own))

    def _can_follow(self, entry: Entry) -> bool:
        """Whether an entry can be asked after the one that is asked now."""
        return entry not in self.slow and self.not_before.get(entry, -math.inf) is not None

    def _fail(self, entry: Entry, error: RerankError, requests: int) -> None:
        """Store when an entry can be asked again."""
        self.failed.append(FailedAttempt(entry.label, error, requests))
        wait = wait_before(self.retries + 1, error, self.policy)
        self.not_before[entry] = None if wait is None else time.monotonic() + wait
        if isinstance(error, APITimeoutError):
            self.slow.add(entry)

    def _is_too_long(self, seconds: float, snapshot: Snapshot) -> bool:
        """Whether to ask another group, or give up, rather than wait."""
        asks_next = self.groups_left > 0 and not self._backs_off(snapshot)
        return asks_next or not self.deadline.allows(seconds) or seconds > self.policy.longest_wait

    def _backs_off(self, snapshot: Snapshot) -> bool:
        """Whether the wait is one before a retry at the only entry, which is neither cooling down nor rate limited."""
        entry, *others = self.group.entries
        load = snapshot.loads[entry.id]
        return not others and available_at(entry.terms, load, self.needs[entry], snapshot.now) <= snapshot.now


def _unavailable(name: str, seconds: float | None) -> RateLimitError:
    # It is unknown only while another call tries each that could be asked.
    trial = "; after a cooldown one call at a time tries a deployment, until it has answered"
    when = trial if seconds is None else f"; the first one is available in {seconds:.1f} s"
    return RateLimitError(f"all deployments of {name} are cooling down or rate limited{when}", retry_after=seconds)
