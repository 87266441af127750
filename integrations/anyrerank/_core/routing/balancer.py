"""A call to several deployments: which one is asked, for how long, and what comes next when it fails."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from anyrerank._core.engine import Call, Deployment, RetryPolicy, ask, guarded_query, retryable, wait_before
from anyrerank._core.pricing import estimated
from anyrerank._core.routing.decisions import Ask, Candidate, Choice, Decision, GiveUp, decide
from anyrerank._core.routing.failures import FailedAttempt, all_failed, failure_of
from anyrerank._core.routing.load import Need, Terms
from anyrerank._core.routing.state import Claim, Outcome, RoutingState, Snapshot
from anyrerank._core.routing.strategies import Strategy
from anyrerank._core.runtime import Deadline, Flow, Invoke, Scope, Sender, Sleep
from anyrerank._core.types import Answer, tokens_to_read
from anyrerank.errors import APITimeoutError, GuardrailRaisedError, RateLimitError, RerankError

_log = logging.getLogger("anyrerank")

_WARN_AGAIN = 60.0
"""Seconds between two warnings that one deployment answered in place of another."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Entry:
    """One deployment of a group."""

    id: str
    deployment: Deployment
    terms: Terms = field(default_factory=Terms)

    @property
    def label(self) -> str:
        """How errors and logs name it."""
        name = self.deployment.name
        return name if self.deployment.model_id is None else f"{self.id} ({name})"


@dataclass(frozen=True, slots=True)
class Group:
    """Deployments that are asked for one name."""

    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a router decides; `anyrerank.Router` describes each of them."""

    strategy: Strategy
    counts_tokens: bool = False
    buffer: float = 0.0
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Balancer:
    """Chooses deployments for calls, and records what becomes of these.

    Attributes:
        rules: How it chooses.
        state: What the calls share.
        sender: What calls are sent with, unless a deployment has its own sender.
    """

    rules: Rules
    state: RoutingState
    sender: Sender
    warned: dict[tuple[str, str], float] = field(default_factory=dict, compare=False)

    def choose(self, call: Call, groups: Sequence[Group]) -> Flow[tuple[Deployment, Answer]]:
        """The answer of a deployment of the first group in which one does not fail.

        Args:
            call: What is asked.
            groups: In the order in which they are asked.

        Raises:
            RerankError: The only failure there was.
            FallbackError: Several deployments failed.
        """
        failed: list[FailedAttempt] = []
        for number, group in enumerate(groups):
            flow = _GroupCall.start(self, call, group, failed, groups_left=len(groups) - number - 1)
            found = yield from flow.answer()
            if found is None:
                continue
            entry, answer = found
            if number and failed:
                self._warn(failed, entry)
            return entry.deployment, answer
        raise all_failed(failed, call.attempts)

    def _warn(self, failed: Sequence[FailedAttempt], entry: Entry) -> None:
        """Log that a fallback answered, once a minute for each pair."""
        pair, now = (failed[0].deployment, entry.label), time.monotonic()
        if now - self.warned.get(pair, -math.inf) >= _WARN_AGAIN:
            self.warned[pair] = now
            _log.warning("%s answered as a fallback: %s", entry.label, "; ".join(map(str, failed)))


@dataclass(slots=True, kw_only=True)
class _GroupCall:
    """One group in one call.

    Attributes:
        groups_left: How many groups can be asked after this one.
        deadline: When this group must have answered.
        tokens: About how many tokens the call uses, where these are counted.
        failed: How deployments failed, in all groups so far.
        not_before: When an entry can be asked again, on the monotonic clock, or `None` for never.
        slow: Entries that used up their time.
        retries: Attempts that failed.
    """

    balancer: Balancer
    call: Call
    group: Group
    groups_left: int
    policy: RetryPolicy
    deadline: Deadline
    tokens: int
    failed: list[FailedAttempt]
    not_before: dict[Entry, float | None] = field(default_factory=dict)
    slow: set[Entry] = field(default_factory=set)
    retries: int = 0

    @classmethod
    def start(
        cls, balancer: Balancer, call: Call, group: Group, failed: list[FailedAttempt], *, groups_left: int
    ) -> _GroupCall:
        policy = RetryPolicy(max_retries=call.options.max_retries)
        counted = balancer.rules.counts_tokens or any(entry.terms.tpm for entry in group.entries)
        documents, fields = call.candidates.documents, call.options.rank_fields
        attempts = min(len(group.entries), 1 + policy.max_retries)
        return cls(
            balancer=balancer,
            call=call,
            group=group,
            groups_left=groups_left,
            policy=policy,
            deadline=call.deadline.share((attempts + groups_left) / attempts),
            tokens=tokens_to_read(call.query, documents, fields) if counted else 0,
            failed=failed,
        )

    def answer(self) -> Flow[tuple[Entry, Answer] | None]:
        """The answer of an entry; `None` when none is left to try."""
        while (turn := (yield from self._claimed())) is not None:
            entry, claim = turn
            before = len(self.call.attempts)
            try:
                return entry, (yield from self._asked(entry, claim))
            except RerankError as error:
                if isinstance(error, GuardrailRaisedError):
                    raise
                sent = len(self.call.attempts) - before
                self._fail(entry, error, sent)
                if not sent and not retryable(error):
                    continue  # nothing was sent, so this was no attempt
            self.retries += 1
            retried = self._retries_in_place(claim.need)
            if retried or self.retries > self.policy.max_retries or not self._allows(pause := self._pause):
                return None
            if pause:
                yield Sleep(pause)
        return None

    @property
    def _pause(self) -> float:
        return self.balancer.rules.retry_after

    def _retries_in_place(self, need: Need) -> bool:
        """Whether the requests of an entry are retried there: there is no other, or some are paid for already."""
        return len(self.group.entries) == 1 or need.requests > 1

    def _claimed(self) -> Flow[tuple[Entry, Claim] | None]:
        """The entry to ask now, once one is available; `None` when there is none, or it would take too long."""
        state = self.balancer.state
        ids = [entry.id for entry in self.group.entries]
        while True:
            snapshot: Snapshot = yield Invoke(partial(state.snapshot, ids), partial(state.asnapshot, ids))
            decision = self._decided(snapshot)
            if isinstance(decision, Ask):
                entry = self.group.entries[decision.index]
                arguments = (entry.id, entry.terms, self._need(entry), decision.risk)
                claim: Claim | None = yield Invoke(partial(state.claim, *arguments), partial(state.aclaim, *arguments))
                if claim is not None:
                    return entry, claim
                continue
            if isinstance(decision, GiveUp):
                return None
            seconds = decision.when - snapshot.now
            if self._is_too_long(seconds):
                if len(self.not_before) < len(self.group.entries):
                    self.failed.append(FailedAttempt(self.group.name, _unavailable(self.group.name, seconds), 0))
                return None
            yield Sleep(seconds)

    def _decided(self, snapshot: Snapshot) -> Decision:
        candidates = [self._candidate(entry, snapshot) for entry in self.group.entries]
        rules = self.balancer.rules
        choice = Choice(rules.strategy, random.random, self._cost, rules.buffer)
        return decide(candidates, choice, snapshot.now, last=self.groups_left == 0)

    def _candidate(self, entry: Entry, snapshot: Snapshot) -> Candidate:
        again = self.not_before.get(entry, -math.inf)
        if again is not None and again > -math.inf:
            again = snapshot.now + max(0.0, again - time.monotonic())
        load = snapshot.loads[entry.id]
        return Candidate(
            terms=entry.terms,
            load=load,
            need=self._need(entry),
            not_before=again,
            tried=entry in self.not_before,
        )

    def _cost(self, index: int) -> float | None:
        with suppress(RerankError):  # it has no key, which it will say when it is asked
            price = self.group.entries[index].deployment.price()
            return estimated(price, self.call.query, self.call.candidates.documents, self.call.options.rank_fields)
        return None

    def _need(self, entry: Entry) -> Need:
        count, options = len(self.call.candidates.documents), self.call.options
        size = options.batch_size or entry.deployment.kind.documents_per_request or count
        return Need(math.ceil(count / size), self.tokens)

    def _asked(self, entry: Entry, claim: Claim) -> Flow[Answer]:
        """The answer of a claimed entry; the state gets what becomes of it."""
        call, before, began = self.call, len(self.call.attempts), time.monotonic()
        if not call.attempts:
            call.provider, call.model = entry.deployment.provider, entry.deployment.model
        try:
            answer = yield from self._sent(entry, claim)
        except RerankError as error:
            yield from self._settled(entry, claim, self._outcome(claim, before, began, None, error), error)
            raise
        except BaseException:  # the call was cut off: a cancelled task cannot wait for a network
            self.balancer.state.settle(claim, self._outcome(claim, before, began, None, None))
            raise
        yield from self._settled(entry, claim, self._outcome(claim, before, began, answer, None))
        return answer

    def _sent(self, entry: Entry, claim: Claim) -> Flow[Answer]:
        """The answer of an entry within its share of the time, sent with its own connections."""
        call, deployment = self.call, entry.deployment
        query = call.query
        if deployment.own is not None and deployment.own.guardrails:
            query = yield from guarded_query(query, deployment.own.guardrails)
        retries = self.policy.max_retries - self.retries if self._retries_in_place(claim.need) else 0
        flow = ask(call, deployment, query, replace(self.policy, max_retries=retries))
        sender = None if deployment.sender is self.balancer.sender else deployment.sender
        deadline = self._deadline(entry)
        if deadline is call.deadline and sender is None:
            return (yield from flow)
        answer: Answer = yield Scope(flow, deadline, sender)
        return answer

    def _deadline(self, entry: Entry) -> Deadline:
        """A fair share of the time for one attempt, and for the others that may follow it."""
        able = [
            each for each in self.group.entries if each not in self.slow and self.not_before.get(each, 0) is not None
        ]
        others = sum(each is not entry for each in able)
        share = self.deadline.share(1 + min(others, self.policy.max_retries - self.retries))
        own = entry.terms.timeout
        return share if own is None else share.earliest(Deadline.after(own))

    def _may_follow(self, entry: Entry) -> bool:
        """Whether an entry can be asked after the one that is asked now."""
        return entry not in self.slow and self.not_before.get(entry, 0.0) is not None

    def _settled(self, entry: Entry, claim: Claim, outcome: Outcome, error: RerankError | None = None) -> Flow[None]:
        state = self.balancer.state
        cools_down: bool = yield Invoke(partial(state.settle, claim, outcome), partial(state.asettle, claim, outcome))
        if cools_down and error is not None:
            _log.warning("%s starts to cool down: %s: %s", entry.label, type(error).__name__, error.message)

    def _outcome(
        self, claim: Claim, before: int, began: float, answer: Answer | None, error: RerankError | None
    ) -> Outcome:
        sent = len(self.call.attempts) - before
        known = answer is not None or (error is not None and not sent)
        requests = sent if known else max(sent, claim.need.requests)
        failed = sum(attempt.error is not None for attempt in self.call.attempts[before:])
        return Outcome(
            seconds=time.monotonic() - began,
            requests=requests,
            tokens=_tokens(answer, requests),
            answered=answer is not None and sent > 0,
            failure=None if error is None else failure_of(error, failed),
        )

    def _fail(self, entry: Entry, error: RerankError, requests: int) -> None:
        """Remember that an entry cannot be asked again at once."""
        self.failed.append(FailedAttempt(entry.label, error, requests))
        wait = wait_before(self.retries + 1, error, self.policy)
        self.not_before[entry] = None if wait is None else time.monotonic() + wait
        if isinstance(error, APITimeoutError):
            self.slow.add(entry)

    def _is_too_long(self, seconds: float) -> bool:
        """Whether to ask another group, or give up, rather than wait."""
        return self.groups_left > 0 or not self._allows(seconds) or seconds > self.policy.longest_wait

    def _allows(self, seconds: float) -> bool:
        return self.deadline.allows(seconds)


def _unavailable(name: str, seconds: float) -> RateLimitError:
    return RateLimitError(
        f"all deployments of {name} are cooling down or rate limited; the first one is available in {seconds:.1f} s",
        retry_after=seconds,
    )


def _tokens(answer: Answer | None, requests: int) -> float | None:
    """The tokens that an answer reports; `None` to keep the estimate."""
    if not requests:
        return 0
    if answer is None:
        return None
    billed, tokens = answer.meta.billed_units, answer.meta.tokens
    return (billed and billed.total_tokens) or (tokens and tokens.input_tokens) or None
