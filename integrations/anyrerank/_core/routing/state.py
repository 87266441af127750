"""What calls share about deployments: loads, rate limits and cooldowns."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from anyrerank._core.routing.load import Load, Need, Risk, Slot, Terms, available_at
from anyrerank._core.runtime import reset_in_child

_MINUTE = 60.0
_LONGEST_COOLDOWN = 3600.0
"""Upper bound in seconds of a cooldown that a server asks for."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The loads of some deployments at one moment.

    Attributes:
        now: When it was taken, on the clock of the state.
        loads: By id.
    """

    now: float
    loads: Mapping[str, Load]


@dataclass(frozen=True, slots=True)
class Claim:
    """A call that has started at a deployment.

    Attributes:
        id: Of the deployment.
        need: What was counted for it.
        slot: Where: the second in which it started.
    """

    id: str
    need: Need
    slot: float


@dataclass(frozen=True, slots=True)
class Failure:
    """How a deployment failed.

    Attributes:
        count: How many requests failed.
        retry_after: Seconds that the server asks to wait, or `None`.
        lasting: Whether the next call would fail too (refused key, unknown model, rate limit).
        rate_limited: Whether it was only asked too often.
    """

    count: int = 1
    retry_after: float | None = None
    lasting: bool = False
    rate_limited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a call.

    Attributes:
        seconds: How long it took.
        requests: How many requests were sent.
        tokens: How many tokens were used, or `None` to keep the estimate.
        answered: Whether it succeeded with a request of its own.
        failure: How it failed, or `None` if it succeeded, or failed through no fault of the deployment.
    """

    seconds: float
    requests: int
    tokens: float | None
    answered: bool = False
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Cooldowns:
    """When a deployment cools down, in LiteLLM's terms.

    Attributes:
        allowed_fails: Failures per minute that are tolerated.
        cooldown_time: Seconds to cool down, unless the server asks for a time.
    """

    allowed_fails: int = 3
    cooldown_time: float = 5.0

    def seconds(self, failure: Failure, *, failures: int, half_open: bool) -> float | None:
        """How long to cool down, or `None` for not at all.

        Args:
            failure: The last one.
            failures: How many there were in the last minute, this one included.
            half_open: Whether the deployment has not answered since its last cooldown.
        """
        if failure.retry_after is not None:
            return min(failure.retry_after, _LONGEST_COOLDOWN)
        cools_down = half_open or failure.lasting or failures > self.allowed_fails
        return self.cooldown_time if cools_down else None


class RoutingState(ABC):
    """What calls share about deployments, in this process or across several.

    A subclass whose methods wait for a network overrides the asynchronous ones too.
    """

    @abstractmethod
    def snapshot(self, ids: Sequence[str]) -> Snapshot:
        """The loads of the deployments with these ids."""

    @abstractmethod
    def claim(self, id_: str, terms: Terms, need: Need, risk: Risk) -> Claim | None:
        """Count a call that starts at a deployment, or `None` if it is not available any more: decide again."""

    @abstractmethod
    def settle(self, claim: Claim, outcome: Outcome) -> bool:
        """Count how a call ended in place of what was claimed; whether the deployment starts to cool down."""

    async def asnapshot(self, ids: Sequence[str]) -> Snapshot:
        """`snapshot`, on the running event loop."""
        return self.snapshot(ids)

    async def aclaim(self, id_: str, terms: Terms, need: Need, risk: Risk) -> Claim | None:
        """`claim`, on the running event loop."""
        return self.claim(id_, terms, need, risk)

    async def asettle(self, claim: Claim, outcome: Outcome) -> bool:
        """`settle`, on the running event loop."""
        return self.settle(claim, outcome)


class MemoryState(RoutingState):
    """Keeps the state in this process. A pickle or a copy starts empty; a forked child has no calls in flight.

    Args:
        cooldowns: When a deployment cools down.
        latency_ttl: Seconds for which a latency counts.
    """

    def __init__(self, cooldowns: Cooldowns, latency_ttl: float = 3600.0) -> None:
        self._cooldowns = cooldowns
        self._latency_ttl = latency_ttl
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()
        reset_in_child(self, MemoryState._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        for record in self._records.values():
            record.in_flight = 0

    def __reduce__(self) -> tuple[Callable[..., MemoryState], tuple[Cooldowns, float]]:
        return (MemoryState, (self._cooldowns, self._latency_ttl))

    def snapshot(self, ids: Sequence[str]) -> Snapshot:
        """The loads of the deployments with these ids."""
        now = time.time()
        with self._lock:
            return Snapshot(now, {id_: self._record(id_).load(now, self._latency_ttl) for id_ in ids})

    def claim(self, id_: str, terms: Terms, need: Need, risk: Risk) -> Claim | None:
        """Count a call that starts at a deployment, or `None` if it is not available any more."""
        now = time.time()
        with self._lock:
            record = self._record(id_)
            if available_at(terms, record.load(now, self._latency_ttl), need, now, risk) > now:
                return None
            return Claim(id_, need, record.start(now, need))

    def settle(self, claim: Claim, outcome: Outcome) -> bool:
        """Count how a call ended; whether the deployment starts to cool down."""
        now = time.time()
        with self._lock:
            record = self._record(claim.id)
            record.end(claim, outcome)
            if outcome.failure is not None:
                return record.fail(now, outcome, outcome.failure, self._cooldowns)
            if outcome.answered:
                record.half_open = False
                record.latencies.append((now, outcome.seconds))
        return False

    def _record(self, id_: str) -> _Record:
        return self._records.setdefault(id_, _Record())


@dataclass(slots=True)
class _Record:
    """The state of one deployment; `Load` says what the fields mean."""

    in_flight: int = 0
    cooling_until: float = -math.inf
    retry_at: float = -math.inf
    half_open: bool = False
    failures: deque[float] = field(default_factory=deque)
    latencies: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=10))
    requests: int = 0
    tokens: int = 0
    slots: dict[float, Slot] = field(default_factory=dict)
    """By their start, the oldest first."""

    def load(self, now: float, latency_ttl: float) -> Load:
        """What a decision needs to know."""
        self._forget(now)
        recent = [seconds for when, seconds in self.latencies if when > now - latency_ttl]
        return Load(
            in_flight=self.in_flight,
            cooling_until=self.cooling_until,
            retry_at=self.retry_at,
            half_open=self.half_open,
            latency=math.fsum(recent) / len(recent) if recent else 0.0,
            requests=self.requests,
            tokens=self.tokens,
            slots=tuple(self.slots.values()),
        )

    def start(self, now: float, need: Need) -> float:
        """Count a call that starts; the start of its slot."""
        self.in_flight += 1
        start = next(reversed(self.slots), -math.inf)
        if now - start >= 1.0:
            start = now
        self._count(start, now, need.requests, need.tokens)
        return start

    def end(self, claim: Claim, outcome: Outcome) -> None:
        """Count what a call really used in place of the estimate."""
        self.in_flight = max(0, self.in_flight - 1)
        slot = self.slots.get(claim.slot)
        if slot is not None:
            more = 0 if outcome.tokens is None else math.ceil(outcome.tokens) - claim.need.tokens
            self._count(claim.slot, slot.last, outcome.requests - claim.need.requests, more)

    def fail(self, now: float, outcome: Outcome, failure: Failure, cooldowns: Cooldowns) -> bool:
        """Count a failure; whether the deployment was well until now, and starts to cool down."""
        self.failures.extend([now] * failure.count)
        while self.failures and self.failures[0] <= now - _MINUTE:
            self.failures.popleft()
        self.latencies.append((now, outcome.seconds))
        seconds = cooldowns.seconds(failure, failures=len(self.failures), half_open=self.half_open)
        if seconds is None:
            return False
        was_well = not self.half_open and self.cooling_until <= now
        self.cooling_until = max(now + seconds, self.cooling_until)
        self.half_open = self.half_open or not failure.rate_limited
        if failure.rate_limited or failure.retry_after is not None:
            self.retry_at = max(now + seconds, self.retry_at)
        return was_well

    def _count(self, start: float, last: float, requests: int, tokens: int) -> None:
        slot = self.slots.get(start, Slot(last, 0, 0))
        self.slots[start] = Slot(last, slot.requests + requests, slot.tokens + tokens)
        self.requests += requests
        self.tokens += tokens

    def _forget(self, now: float) -> None:
        """Drop slots that are older than a minute."""
        while self.slots and self.slots[start := next(iter(self.slots))].last + _MINUTE <= now:
            slot = self.slots.pop(start)
            self.requests -= slot.requests
            self.tokens -= slot.tokens
