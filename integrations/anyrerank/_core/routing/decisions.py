"""Which deployment is asked, and which next when it fails: decisions, with clock and chance as arguments."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate
from typing import Protocol, TypeAlias, TypeVar

from anyrerank._core.runtime import Flow
from anyrerank._core.types import Attempt
from anyrerank.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    FallbackError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RerankError,
)

T = TypeVar("T")

Start: TypeAlias = Callable[[float | None], Flow[T]]
"""Makes the flow of one model, given the deadline it has."""

_MINUTE = 60.0


def first_success(
    starts: Sequence[Start[T]],
    *,
    deadline: float | None,
    clock: Callable[[], float],
    attempts: Sequence[Attempt],
) -> Flow[T]:
    """What the first model answers that does not fail; each has an equal share of the time that is left.

    Args:
        starts: One for each model, in the order in which they are tried.
        deadline: When everything must be over.
        clock: The clock of `deadline`.
        attempts: What was tried so far, for the error.

    Raises:
        RerankError: The only model failed, or one failed in a way that no other would survive. What a later model
            cannot take, before anything is sent, is no reason: the call itself got past the first one.
        FallbackError: All of several models failed.
    """
    errors: list[RerankError] = []
    for number, start in enumerate(starts):
        share = None if deadline is None else part_of(deadline, clock(), len(starts) - number)
        try:
            return (yield from start(share))
        except RerankError as error:
            of_this_model = number > 0 and cannot_take(error)
            if len(starts) == 1 or not (error.moves_on or of_this_model):
                raise
            errors.append(error)
    raise all_failed(errors, attempts)


def part_of(deadline: float, now: float, parts: int) -> float:
    """When the first of equal parts of the time until `deadline` is over."""
    return now + max(0.0, deadline - now) / parts


def cannot_take(error: RerankError) -> bool:
    """Whether a model refused the call itself, before anything was sent."""
    return type(error) is BadRequestError and error.status_code is None


def all_failed(errors: Sequence[RerankError], attempts: Sequence[Attempt]) -> FallbackError:
    """One error that holds all of `errors`."""
    return FallbackError(
        "every model failed: " + "; ".join(f"{type(error).__name__}: {error.message}" for error in errors),
        errors=tuple(errors),
        attempts=tuple(attempts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a deployment is used.

    Attributes:
        weight: Its share of the calls, against the weights of the others.
        rpm, tpm: Requests and tokens that it takes in a minute.
        order: Those with a lower one are used as long as one of them can be.
        timeout: Seconds for one try.
    """

    weight: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    order: int = 1
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What a call will use, about."""

    requests: int = 1
    tokens: int = 0


@dataclass(slots=True)
class Slot:
    """What was used within a second; it counts until the last of it is a minute old."""

    first: float
    last: float
    requests: int = 0
    tokens: int = 0


class Window:
    """What was used in the last minute, in a few dozen slots whatever the rate is."""

    def __init__(self) -> None:
        self._slots: deque[Slot] = deque()
        self.requests = 0
        self.tokens = 0

    def add(self, now: float, need: Need) -> Slot:
        """Count what is about to be used."""
        self.forget(now)
        if not self._slots or now - self._slots[-1].first >= 1.0:
            self._slots.append(Slot(now, now))
        slot = self._slots[-1]
        slot.last = now
        self.change(slot, need.requests, need.tokens)
        return slot

    def change(self, slot: Slot, requests: int, tokens: int) -> None:
        """Count more, or less, in a slot."""
        slot.requests += requests
        slot.tokens += tokens
        if self._slots and slot.first >= self._slots[0].first:
            self.requests += requests
            self.tokens += tokens

    def forget(self, now: float) -> None:
        """Leave out what is older than a minute."""
        while self._slots and self._slots[0].last + _MINUTE <= now:
            slot = self._slots.popleft()
            self.requests -= slot.requests
            self.tokens -= slot.tokens

    def room_at(self, now: float, need: Need, rpm: float, tpm: float) -> float:
        """When there is room for `need`; what is larger than a limit waits until nothing else is counted."""
        self.forget(now)
        requests = self.requests + need.requests - max(rpm, need.requests)
        tokens = self.tokens + need.tokens - max(tpm, need.tokens)
        when = now
        for slot in self._slots:
            if requests <= 0 and tokens <= 0:
                break
            requests, tokens, when = requests - slot.requests, tokens - slot.tokens, slot.last + _MINUTE
        return when


@dataclass(slots=True)
class Load:
    """What happened at a deployment lately. All times are of one clock that never goes back.

    Attributes:
        in_flight: Calls under way.
        cooling_until: When it may be used again.
        told_until: When the server itself said that it may be, at the earliest; never after `cooling_until`.
        on_trial: Whether it cooled down because it failed, and has not answered since: one call at a time, then. One
            that was only asked too often is well again when it has cooled down.
        failures: When it failed, in the last minute.
        latencies: When, and how many seconds it took to answer, for the last ten calls.
    """

    in_flight: int = 0
    cooling_until: float = -math.inf
    told_until: float = -math.inf
    on_trial: bool = False
    failures: deque[float] = field(default_factory=deque)
    latencies: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=10))
    used: Window = field(default_factory=Window)

    def took(self, now: float, need: Need) -> Slot:
        """A call has begun."""
        self.in_flight += 1
        return self.used.add(now, need)

    def ended(self, slot: Slot, need: Need, *, requests: int, tokens: float | None) -> None:
        """A call is over, whether it went well or not; what it really used takes the place of the estimate."""
        self.in_flight -= 1
        more = 0 if tokens is None else math.ceil(tokens) - need.tokens
        self.used.change(slot, requests - need.requests, more)

    def answered(self, now: float, seconds: float) -> None:
        """It answered well."""
        self.on_trial = False
        self.latencies.append((now, seconds))

    def failed(self, now: float, seconds: float, error: RerankError, rules: Cooldowns) -> bool:
        """It failed; whether it was well so far, and has to cool down now."""
        self.failures.append(now)
        while self.failures[0] <= now - _MINUTE:
            self.failures.popleft()
        self.latencies.append((now, seconds))
        until = rules.until(error, now, failures=len(self.failures), on_trial=self.on_trial)
        if until is None:
            return False
        was_well = not self.on_trial and self.cooling_until <= now
        self.cooling_until = max(until, self.cooling_until)
        limited = isinstance(error, RateLimitError)
        self.on_trial = self.on_trial or not limited
        if limited or error.retry_after is not None:
            self.told_until = max(until, self.told_until)
        return was_well

    def latency(self, now: float, ttl: float) -> float:
        """Mean seconds of the last calls; 0 where nothing is known, so that it is tried."""
        recent = [seconds for when, seconds in self.latencies if when > now - ttl]
        return math.fsum(recent) / len(recent) if recent else 0.0


@dataclass(frozen=True, slots=True)
class Cooldowns:
    """When a deployment has to cool down, in LiteLLM's words.

    Attributes:
        allowed_fails: Failures in a minute that are borne.
        cooldown_time: Seconds to cool down, where the server does not ask for a time.
    """

    allowed_fails: int = 3
    cooldown_time: float = 5.0

    def until(self, error: RerankError, now: float, *, failures: int, on_trial: bool) -> float | None:
        """When a deployment that failed with `error` may be used again, or `None` for now.

        Args:
            failures: How often it failed in the last minute, this time included.
            on_trial: Whether it has not answered since it cooled down last.
        """
        if error.retry_after is not None:
            return now + min(error.retry_after, _LONGEST_COOLDOWN)
        at_once = on_trial or isinstance(error, _AT_ONCE)
        return now + self.cooldown_time if at_once or failures > self.allowed_fails else None


_LONGEST_COOLDOWN = 3600.0
"""Seconds for which a server is taken at its word."""

_AT_ONCE = (AuthenticationError, ConfigurationError, NotFoundError, PermissionDeniedError, RateLimitError)
"""What the next call would meet too."""


class Candidate(Protocol):
    """A deployment that may be asked."""

    @property
    def terms(self) -> Terms:
        """On what terms it is used."""
        ...

    @property
    def load(self) -> Load:
        """What happened there lately."""
        ...


C = TypeVar("C", bound=Candidate)


class Daring(IntEnum):
    """How much is risked when nobody else can be asked."""

    NONE = 0
    COOLING = 1
    """What cools down because it failed is asked all the same; what asked for time itself, or is at a limit, never."""
    ON_TRIAL = 2
    """What another call is trying out is asked too."""


def free_at(candidate: Candidate, need: Need, now: float, daring: Daring = Daring.NONE) -> float:
    """When a deployment can take a call: `now`, later, or nobody knows (infinity) while it is on trial with another."""
    terms, load = candidate.terms, candidate.load
    when = max(now, load.told_until if daring else load.cooling_until)
    if terms.rpm is not None or terms.tpm is not None:
        when = max(when, load.used.room_at(now, need, terms.rpm or math.inf, terms.tpm or math.inf))
    tried_by_another = load.on_trial and load.in_flight > 0 and daring < Daring.ON_TRIAL
    return math.inf if tried_by_another and when <= now else when


@dataclass(frozen=True, slots=True)
class Moment:
    """What a strategy may go by besides the deployments themselves.

    Attributes:
        now: The time of their loads.
        chance: A number from 0 to just under 1.
        cost: About how many US dollars the call costs at the candidate of a place, or `None` when that is not known.
        ttl: Seconds for which a latency counts.
        buffer: What is slower than the fastest by this part of its latency counts as fast.
    """

    now: float
    chance: Callable[[], float]
    cost: Callable[[int], float | None]
    ttl: float = 3600.0
    buffer: float = 0.0


Strategy: TypeAlias = Callable[[Sequence[Candidate], Moment], int]
"""Which of some candidates is asked: its place."""


def _shuffled(candidates: Sequence[Candidate], moment: Moment) -> int:
    """By chance, with the weights as shares; without weights by rpm or tpm, where all have one."""
    bounds = list(accumulate(_shares(candidates)))
    return bisect_right(bounds, moment.chance() * bounds[-1])


def _shares(candidates: Sequence[Candidate]) -> Sequence[float]:
    weights = [candidate.terms.weight for candidate in candidates]
    shares = [1.0 if weight is None else weight for weight in weights]
    if any(shares) and any(weight is not None for weight in weights):
        return shares
    for limits in ([each.terms.rpm for each in candidates], [each.terms.tpm for each in candidates]):
        if known := [float(limit) for limit in limits if limit]:
            return known if len(known) == len(limits) else [1.0] * len(limits)
    return [1.0] * len(candidates)


def _least_busy(candidates: Sequence[Candidate], moment: Moment) -> int:
    return _least([each.load.in_flight for each in candidates], moment)


def _fastest(candidates: Sequence[Candidate], moment: Moment) -> int:
    seconds = [each.load.latency(moment.now, moment.ttl) for each in candidates]
    enough = min(seconds) * (1 + moment.buffer)
    return _least([max(each, enough) for each in seconds], moment)


def _least_used(candidates: Sequence[Candidate], moment: Moment) -> int:
    """By the part of its limits that is used, where all have some; else by tokens, then requests, in a minute."""
    for candidate in candidates:
        candidate.load.used.forget(moment.now)
    if all(candidate.terms.rpm or candidate.terms.tpm for candidate in candidates):
        return _least([_part_used(candidate) for candidate in candidates], moment)
    return _least([(each.load.used.tokens, each.load.used.requests) for each in candidates], moment)


def _part_used(candidate: Candidate) -> float:
    terms, used = candidate.terms, candidate.load.used
    return max(used.requests / (terms.rpm or math.inf), used.tokens / (terms.tpm or math.inf))


def _cheapest(candidates: Sequence[Candidate], moment: Moment) -> int:
    """By what the call costs; what has no known price comes last."""
    costs = [moment.cost(place) for place in range(len(candidates))]
    return _least([math.inf if cost is None else cost for cost in costs], moment)


N = TypeVar("N", float, tuple[int, int])


def _least(numbers: Sequence[N], moment: Moment) -> int:
    """The place of the least number; by chance among several."""
    least = min(numbers)
    best = [place for place, number in enumerate(numbers) if number == least]
    return best[int(moment.chance() * len(best))]


STRATEGIES: Mapping[str, Strategy] = {
    "simple-shuffle": _shuffled,
    "least-busy": _least_busy,
    "latency-based-routing": _fastest,
    "usage-based-routing": _least_used,
    "usage-based-routing-v2": _least_used,
    "cost-based-routing": _cheapest,
}


def in_order(candidates: Sequence[C]) -> Sequence[C]:
    """Those of the lowest order."""
    least = min(candidate.terms.order for candidate in candidates)
    return [candidate for candidate in candidates if candidate.terms.order == least]


E = TypeVar("E", bound=Candidate)


def next_step(candidates: Sequence[tuple[E, float | None, bool]], now: float) -> Sequence[E] | float | None:
    """The candidates of which one is asked now, or in how many seconds one can be; `None` when nobody knows.

    Those that were not tried yet come first.

    Args:
        candidates: Each with the time at which it is ready (infinity where nobody knows it, `None` for never in this
            call), and whether it was not tried yet.
    """
    for untried in (True, False):
        ready = [each for each, at, fresh in candidates if at is not None and at <= now and fresh is untried]
        if ready:
            return ready
    times = [at for _, at, _ in candidates if at is not None and at < math.inf]
    return min(times) - now if times else None
