"""A call at the deployments of some names: which is asked, for how long, what is remembered, and which is next."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from anyrerank._core.engine import Call, Candidates, Deployment, retryable, wait_before
from anyrerank._core.http import Transport
from anyrerank._core.pricing import Reservation, charged, estimated
from anyrerank._core.routing.decisions import (
    Cooldowns,
    Daring,
    Moment,
    Need,
    Slot,
    Strategy,
    all_failed,
    cannot_take,
    free_at,
    in_order,
    next_step,
    part_of,
)
from anyrerank._core.routing.entries import Entry
from anyrerank._core.runtime import Flow, ForkLock, Sleep
from anyrerank._core.types import Answer, RerankRequest, tokens_to_read
from anyrerank.errors import APITimeoutError, RateLimitError, RerankError

_log = logging.getLogger("anyrerank")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a router decides; each is described there."""

    strategy: Strategy
    counts_tokens: bool
    ttl: float
    buffer: float
    retry_after: float
    cooldowns: Cooldowns
    clock: Callable[[], float]
    chance: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a deployment is doing.

    Attributes:
        model_name: The name under which it is asked.
        model_id, deployment: Which one it is, and its `provider/model`.
        in_flight: Calls under way.
        cooling: Seconds until it is used again, or 0.
        requests, tokens: What was used in the last minute; tokens where they are counted.
    """

    model_name: str
    model_id: str
    deployment: str
    in_flight: int
    cooling: float
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class _Turn:
    """The deployment that is asked now, and what was counted and set aside for that."""

    entry: Entry
    need: Need
    slot: Slot
    reservation: Reservation | None = None


@dataclass(slots=True, kw_only=True)
class _Group:
    """One name in one call.

    Attributes:
        names_left: How many names can be asked after this one.
        deadline: When this one must be done.
        errors: Of all names so far.
        tokens: About how many the call will use, where somebody counts them.
        failed: What cannot be asked again before some time, or not at all.
        slow: Those of `failed` that used up their time.
        retries: Tries that failed.
    """

    call: Call
    kept: Candidates
    entries: Sequence[Entry]
    names_left: int
    deadline: float | None
    errors: list[RerankError]
    tokens: int
    failed: dict[Entry, float | None] = field(default_factory=dict)
    slow: set[Entry] = field(default_factory=set)
    retries: int = 0

    def fail(self, entry: Entry, error: RerankError, now: float) -> None:
        """Remember that an entry cannot be asked again at once."""
        self.errors.append(error)
        wait = wait_before(self.retries + 1, error, self.call.policy)
        self.failed[entry] = None if wait is None else now + wait
        if isinstance(error, APITimeoutError):
            self.slow.add(entry)


class Balancer:
    """Keeps account of what `entries` do, for calls of any thread; its lock is never held while one waits."""

    def __init__(self, rules: Rules, entries: Sequence[Entry]) -> None:
        self.rules = rules
        self._entries = entries
        self._lock = ForkLock()
        self._pid = os.getpid()

    def __reduce__(self) -> tuple[type[Balancer], tuple[Rules, Sequence[Entry]]]:
        return (Balancer, (self.rules, self._entries))

    @contextmanager
    def _account(self) -> Iterator[None]:
        """Hold the lock; a forked child has none of the calls that threads of its parent had under way."""
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                for entry in self._entries:
                    entry.load.in_flight = 0
            yield

    def scores(
        self, call: Call, kept: Candidates, names: Sequence[Sequence[Entry]], transport: Transport
    ) -> Flow[tuple[Deployment, Answer]]:
        """The scores of a call, by a deployment of the first name that has one which does not fail.

        Args:
            names: The deployments of each name, in the order in which the names are asked.
            transport: What the call goes through.

        Raises:
            RerankError: What the caller did wrong, or the one failure there was.
            FallbackError: Several tries failed.
        """
        errors: list[RerankError] = []
        for number, entries in enumerate(names):
            left = len(names) - number - 1
            group = _Group(
                call=call,
                kept=kept,
                entries=entries,
                names_left=left,
                deadline=self._deadline_of_name(call, len(entries), left),
                errors=errors,
                tokens=self._tokens_of(call, kept, entries),
            )
            found = yield from self._in_group(group, transport)
            if found is not None:
                return found
        if len(errors) == 1 or not any(error.moves_on for error in errors):
            raise errors[0]
        raise all_failed(errors, call.attempts)

    def standing(self, entry: Entry) -> Standing:
        """How a deployment is doing."""
        now, load, deployment = self.rules.clock(), entry.load, entry.deployment
        with self._account():
            load.used.forget(now)
            return Standing(
                model_name=entry.model_name,
                model_id=str(deployment.model_id),
                deployment=deployment.name,
                in_flight=load.in_flight,
                cooling=max(0.0, load.cooling_until - now),
                requests=load.used.requests,
                tokens=load.used.tokens,
            )

    def _tokens_of(self, call: Call, kept: Candidates, entries: Sequence[Entry]) -> int:
        counted = self.rules.counts_tokens or any(entry.terms.tpm for entry in entries)
        return tokens_to_read(call.query, kept.documents, call.options.rank_fields) if counted else 0

    def _in_group(self, group: _Group, transport: Transport) -> Flow[tuple[Deployment, Answer] | None]:
        """The same for one name; `None` when nothing is left to try of it."""
        while (turn := (yield from self._next_turn(group))) is not None:
            before = len(group.call.attempts)
            try:
                return turn.entry.deployment, (yield from self._asked(group, turn, transport))
            except RerankError as error:
                if not (error.moves_on or cannot_take(error)):
                    raise
                group.fail(turn.entry, error, self.rules.clock())
                if len(group.call.attempts) == before and not retryable(error):
                    continue  # nothing was sent, so that was no try
            group.retries += 1
            retried_already = len(group.entries) == 1 and turn.need.requests > 1  # each request by itself
            pause = self.rules.retry_after
            if group.retries > group.call.policy.max_retries or retried_already or self._is_late(pause, group):
                return None
            if pause:
                yield Sleep(pause)
        return None

    def _next_turn(self, group: _Group) -> Flow[_Turn | None]:
        """Who is asked next, when somebody can be; `None` when nobody is left, or that would be too long to wait."""
        while True:
            with self._account():
                step = self._step(group)
            if step is None:
                return None
            if isinstance(step, _Turn):
                try:
                    return replace(step, reservation=self._reserved(step, group))
                except RerankError as error:
                    group.fail(step.entry, error, self.rules.clock())
            elif self._is_too_long(step, group):
                if len(group.failed) < len(group.entries):
                    group.errors.append(_busy(group, step))
                return None
            else:
                yield Sleep(step)

    def _step(self, group: _Group) -> _Turn | float | None:
        """Who is asked now, or in how many seconds somebody can be; `None` when nobody is left."""
        now = self.rules.clock()
        wait: float | None = None
        for daring in (Daring.NONE,) if group.names_left else Daring:
            if daring is Daring.ON_TRIAL and wait is not None:
                break  # better to wait for another than to pile up at one that may hang
            step = next_step(
                [
                    (entry, self._ready_at(entry, group, now, daring), entry not in group.failed)
                    for entry in group.entries
                ],
                now,
            )
            if step is None or isinstance(step, float | int):
                wait = step
                continue
            entry = self._picked(step, group, now)
            need = self._need(entry, group)
            return _Turn(entry, need, entry.load.took(now, need))
        return wait

    def _ready_at(self, entry: Entry, group: _Group, now: float, daring: Daring) -> float | None:
        """When an entry can be asked: infinity as long as nobody knows, `None` for not any more in this call."""
        again = group.failed.get(entry, now)
        return None if again is None else max(again, free_at(entry, self._need(entry, group), now, daring))

    def _picked(self, ready: Sequence[Entry], group: _Group, now: float) -> Entry:
        rules, query, documents = self.rules, group.call.query, group.kept.documents
        entries = in_order(ready)

        def cost(place: int) -> float | None:
            with suppress(RerankError):  # there is no key for it, which it will say when it is asked
                return estimated(entries[place].deployment.price(), query, documents, group.call.options.rank_fields)
            return None

        moment = Moment(now=now, chance=rules.chance, cost=cost, ttl=rules.ttl, buffer=rules.buffer)
        return entries[rules.strategy(entries, moment)]

    def _need(self, entry: Entry, group: _Group) -> Need:
        count, options = len(group.kept.documents), group.call.options
        size = options.batch_size or entry.deployment.kind.documents_per_request or count
        return Need(math.ceil(count / size), group.tokens)

    def _reserved(self, turn: _Turn, group: _Group) -> Reservation | None:
        """What is set aside of the budget of a deployment; it is given its turn back when there is not enough.

        The balancer's lock is not held while a budget's is asked for: a fork takes all of them, in any order.
        """
        entry, options = turn.entry, group.call.options
        if entry.budget is None:
            return None
        try:
            query, documents = group.call.query, group.kept.documents
            starts = range(0, len(documents), entry.deployment.usual_size(options) or len(documents))
            request = RerankRequest(query=query, documents=documents, rank_fields=options.rank_fields)
            dollars = entry.deployment.estimate(request, starts)
            return entry.budget.reserve(dollars)
        except BaseException:
            with self._lock:
                entry.load.ended(turn.slot, turn.need, requests=0, tokens=0)
            raise

    def _asked(self, group: _Group, turn: _Turn, transport: Transport) -> Flow[Answer]:
        """The answer of a deployment; what becomes of the call there is remembered."""
        call, entry, clock = group.call, turn.entry, self.rules.clock
        before, began = len(call.attempts), clock()
        answer, failure, falls_out = None, None, False
        if not call.attempts:
            call.provider, call.model = entry.deployment.provider, entry.deployment.model
        many = turn.need.requests > 1
        policy = replace(call.policy, max_retries=call.policy.max_retries - group.retries if many else 0)
        deadline = self._deadline(entry, group, began)
        asked = entry.deployment.ask(call, call.query, group.kept, deadline=deadline, policy=policy)
        flow = entry.deployment.through(asked, transport)
        if turn.reservation is not None:
            estimate = entry.deployment.estimate
            flow = charged(flow, turn.reservation.settle, call.attempts, call.under_way, estimate)
        try:
            answer = yield from flow
        except RerankError as error:
            failure = error
            raise
        finally:
            attempts, seconds = call.attempts[before:], clock() - began
            with self._lock:
                known = answer is not None or (failure is not None and not attempts)
                requests = len(attempts) if known else max(len(attempts), turn.need.requests)
                entry.load.ended(turn.slot, turn.need, requests=requests, tokens=_tokens(answer, requests))
                if failure is not None and failure.moves_on and not failure.too_large:
                    falls_out = entry.load.failed(clock(), seconds, failure, self.rules.cooldowns)
                elif answer is not None and attempts:
                    entry.load.answered(clock(), seconds)
            if failure is not None and falls_out:
                _log.warning(
                    "%s (%s) cools down: %s: %s",
                    entry.deployment.model_id,
                    entry.deployment.name,
                    type(failure).__name__,
                    failure.message,
                )
        return answer

    def _deadline_of_name(self, call: Call, entries: int, names_left: int) -> float | None:
        """Of a name: a share of what is left for each try at it, as large as that of each name after it."""
        if call.deadline is None:
            return None
        now, tries = self.rules.clock(), min(entries, 1 + call.policy.max_retries)
        return now + max(0.0, call.deadline - now) * tries / (tries + names_left)

    def _deadline(self, entry: Entry, group: _Group, now: float) -> float | None:
        """Of one try: a fair share of what is left for it and for the others that may be asked after it."""
        end, own = group.deadline, entry.terms.timeout
        able = [each for each in group.entries if each not in group.slow and group.failed.get(each, now) is not None]
        others = sum(each is not entry for each in able)
        tries = 1 + min(others, group.call.policy.max_retries - group.retries)
        limits = [*([] if own is None else [now + own]), *([] if end is None else [part_of(end, now, tries)])]
        return min(limits, default=None)

    def _is_too_long(self, seconds: float, group: _Group) -> bool:
        """Whether another name should be asked, or nobody, rather than wait.

        An only deployment that did not ask for time itself is tried again all the same, after a moment.
        """
        with self._lock:
            now, only = self.rules.clock(), group.entries[0]
            backs_off = len(group.entries) == 1 and free_at(only, self._need(only, group), now) <= now
        elsewhere = group.names_left > 0 and not backs_off
        return elsewhere or self._is_late(seconds, group) or seconds > group.call.policy.longest_wait

    def _is_late(self, seconds: float, group: _Group) -> bool:
        """Whether the time of a name is over in so many seconds."""
        return group.deadline is not None and self.rules.clock() + seconds >= group.deadline


def _busy(group: _Group, seconds: float) -> RateLimitError:
    name = group.entries[0].model_name
    return RateLimitError(
        f"every deployment of {name} cools down or is at its limit; the first is free in {seconds:.1f} s",
        retry_after=seconds,
    )


def _tokens(answer: Answer | None, requests: int) -> float | None:
    """The tokens that an answer says it used; `None` to stay with the estimate."""
    if not requests:
        return 0
    if answer is None:
        return None
    billed, tokens = answer.meta.billed_units, answer.meta.tokens
    return (billed and billed.total_tokens) or (tokens and tokens.input_tokens) or None
