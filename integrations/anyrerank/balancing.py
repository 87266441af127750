"""A call at the deployments of some names: which is asked, for how long, what is remembered, and which is next."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from anyrerank.batching import Candidates
from anyrerank.budget import Reservation
from anyrerank.call import Call
from anyrerank.deployment import Deployment
from anyrerank.entries import Entry
from anyrerank.errors import RateLimitError, RerankError
from anyrerank.flow import Flow, Sleep
from anyrerank.forks import ForkLock
from anyrerank.prices import estimated, total
from anyrerank.providers._base import Answer
from anyrerank.providers._documents import tokens_to_read
from anyrerank.retry import retryable, wait_before
from anyrerank.routing import (
    Cooldowns,
    Moment,
    Need,
    Slot,
    Strategy,
    all_failed,
    free_at,
    in_order,
    is_unsent,
    next_step,
    part_of,
)
from anyrerank.transport import Transport


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
    """The deployment that is asked now, and what was set aside for that."""

    entry: Entry
    need: Need
    slot: Slot
    reservation: Reservation | None


@dataclass(slots=True, kw_only=True)
class _Group:
    """One name in one call.

    Attributes:
        names_left: How many names can be asked after this one.
        errors: Of all names so far.
        tokens: About how many the call will use, where somebody counts them.
        failed: What cannot be asked again at once, why, and since when.
        retries: Tries that failed.
    """

    call: Call
    kept: Candidates
    entries: Sequence[Entry]
    names_left: int
    errors: list[RerankError]
    tokens: int
    failed: dict[Entry, tuple[RerankError, float]] = field(default_factory=dict)
    retries: int = 0

    def fail(self, entry: Entry, error: RerankError, now: float) -> None:
        """Remember why an entry cannot be asked again at once."""
        self.errors.append(error)
        self.failed[entry] = (error, now)


class Balancer:
    """Keeps account of what deployments do, for calls of any thread; its lock is never held while one waits."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._lock = ForkLock()

    def __reduce__(self) -> tuple[type[Balancer], tuple[Rules]]:
        return (Balancer, (self.rules,))

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
                errors=errors,
                tokens=self._tokens_of(call, kept, entries),
            )
            found = yield from self._in_group(group, transport)
            if found is not None:
                return found
        if len(errors) == 1 or all(map(is_unsent, errors)):
            raise errors[0]
        raise all_failed(errors, call.attempts)

    def standing(self, entry: Entry) -> Standing:
        """How a deployment is doing."""
        now, load, deployment = self.rules.clock(), entry.load, entry.deployment
        with self._lock:
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
        while True:
            with self._lock:
                turn = self._turn(group)
            if turn is None:
                return None
            if not isinstance(turn, _Turn):
                if self._is_too_long(turn, group):
                    group.errors.append(_busy(group, turn))
                    return None
                yield Sleep(turn)
                continue
            try:
                return turn.entry.deployment, (yield from self._asked(group, turn, transport))
            except RerankError as error:
                if not (error.moves_on or is_unsent(error)):
                    raise
                group.fail(turn.entry, error, self.rules.clock())
                if is_unsent(error):
                    continue
            group.retries += 1
            if group.retries > group.call.policy.max_retries or len(group.entries) == 1:
                return None
            if self.rules.retry_after:
                yield Sleep(self.rules.retry_after)

    def _turn(self, group: _Group) -> _Turn | float | None:
        """Who is asked now, or in how many seconds somebody can be; `None` when nobody is left."""
        now = self.rules.clock()
        while True:
            step = next_step(
                [(entry, self._ready_at(entry, group, now), entry not in group.failed) for entry in group.entries],
                now,
                bold=not group.names_left,
            )
            if step is None or isinstance(step, float):
                return step
            entry = self._picked(step, group, now)
            need = self._need(entry, group)
            try:
                reservation = _reserved(entry, group)
            except RerankError as error:
                group.fail(entry, error, now)
                continue
            return _Turn(entry, need, entry.load.took(now, need), reservation)

    def _ready_at(self, entry: Entry, group: _Group, now: float) -> float | None:
        """When an entry can be asked: infinity as long as nobody knows, `None` for not any more in this call."""
        ready = free_at(entry, self._need(entry, group), now)
        if entry not in group.failed:
            return ready
        error, since = group.failed[entry]
        wait = wait_before(group.retries, error, group.call.policy) if retryable(error) else None
        return None if wait is None else max(ready, since + wait)

    def _picked(self, ready: Sequence[Entry], group: _Group, now: float) -> Entry:
        rules, query, documents = self.rules, group.call.query, group.kept.documents
        entries = in_order(ready)

        def cost(place: int) -> float | None:
            return estimated(entries[place].deployment.price(), query, documents, group.call.options.rank_fields)

        moment = Moment(now=now, chance=rules.chance, cost=cost, ttl=rules.ttl, buffer=rules.buffer)
        return entries[rules.strategy(entries, moment)]

    def _need(self, entry: Entry, group: _Group) -> Need:
        count, options = len(group.kept.documents), group.call.options
        size = options.batch_size or entry.deployment.kind.documents_per_request or count
        return Need(math.ceil(count / size), group.tokens)

    def _asked(self, group: _Group, turn: _Turn, transport: Transport) -> Flow[Answer]:
        """The answer of a deployment; what becomes of the call there is remembered."""
        call, entry, clock = group.call, turn.entry, self.rules.clock
        before, began = len(call.attempts), clock()
        answer, failure = None, None
        if not call.attempts:
            call.provider, call.model = entry.deployment.provider, entry.deployment.model
        many = turn.need.requests > 1 or len(group.entries) == 1
        policy = replace(call.policy, max_retries=call.policy.max_retries - group.retries if many else 0)
        flow = entry.deployment.ask(
            call, call.query, group.kept, deadline=self._deadline(entry, group, began), policy=policy
        )
        try:
            answer = yield from entry.deployment.through(flow, transport)
        except RerankError as error:
            failure = error
            raise
        finally:
            attempts, seconds = call.attempts[before:], clock() - began
            with self._lock:
                entry.load.ended(turn.slot, turn.need, requests=len(attempts), tokens=_tokens(answer, len(attempts)))
                if failure is not None and failure.moves_on:
                    entry.load.failed(clock(), seconds, failure, self.rules.cooldowns)
                elif answer is not None and attempts:
                    entry.load.answered(clock(), seconds)
            if turn.reservation is not None:
                turn.reservation.settle(total(attempts))
        return answer

    def _deadline(self, entry: Entry, group: _Group, now: float) -> float | None:
        """Of one try: a fair share of what is left for it, for the other deployments and for the other names."""
        end, own = group.call.deadline, entry.terms.timeout
        others = sum(each is not entry and each not in group.failed for each in group.entries)
        tries = 1 + min(others, group.call.policy.max_retries - group.retries) + group.names_left
        limits = [*([] if own is None else [now + own]), *([] if end is None else [part_of(end, now, tries)])]
        return min(limits, default=None)

    def _is_too_long(self, seconds: float, group: _Group) -> bool:
        """Whether another name should be asked, or nobody, rather than wait."""
        end = group.call.deadline
        late = end is not None and self.rules.clock() + seconds >= end
        return bool(group.names_left) or late or seconds > group.call.policy.longest_wait


def _busy(group: _Group, seconds: float) -> RateLimitError:
    name = group.entries[0].model_name
    return RateLimitError(
        f"every deployment of {name} cools down or is at its limit; the first is free in {seconds:.1f} s",
        retry_after=seconds,
    )


def _reserved(entry: Entry, group: _Group) -> Reservation | None:
    if entry.budget is None:
        return None
    call, deployment = group.call, entry.deployment
    return entry.budget.reserve(deployment.estimate(call.query, group.kept.documents, call.options.rank_fields))


def _tokens(answer: Answer | None, attempts: int) -> float | None:
    """The tokens that an answer says it used; `None` to stay with the estimate."""
    if not attempts:
        return 0
    if answer is None:
        return None
    billed, tokens = answer.meta.billed_units, answer.meta.tokens
    return (billed and billed.total_tokens) or (tokens and tokens.input_tokens) or None
