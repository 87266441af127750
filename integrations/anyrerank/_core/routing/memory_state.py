"""The routing state of one process."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from anyrerank._core.routing.cooldowns import Cooldowns
from anyrerank._core.routing.load import Load, Risk, Terms, available_at
from anyrerank._core.routing.state import Claim, Failure, Outcome, RoutingState, Snapshot
from anyrerank._core.routing.window import MINUTE, Need, Window
from anyrerank._core.runtime import reset_in_child

_MAX_RECORDS = 10_000
"""Maximum number of deployments to store: only names that callers send for a wildcard can exceed it."""


class MemoryState(RoutingState):
    """Stores the state in this process. A pickle or a copy starts empty; a forked child has no calls in flight.

    Its clock is the monotonic one: a cooldown does not depend on corrections of the system time.

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
        if self._lock.locked():  # another thread was changing the records during the fork
            self._records.clear()
        self._lock = threading.Lock()
        for record in self._records.values():
            record.claims.clear()

    def __reduce__(self) -> tuple[Callable[..., MemoryState], tuple[Cooldowns, float]]:
        return (MemoryState, (self._cooldowns, self._latency_ttl))

    def snapshot(self, ids: Sequence[str]) -> Snapshot:
        """The loads of the deployments with these ids."""
        now = time.monotonic()
        with self._lock:
            return Snapshot(now, {each: self._record(each).load(now, self._latency_ttl) for each in ids})

    def claim(self, deployment_id: str, terms: Terms, need: Need, risk: Risk) -> Claim | None:
        """Count a call that starts at a deployment, or return `None` if it has become unavailable."""
        now = time.monotonic()
        with self._lock:
            record = self._record(deployment_id)
            if available_at(terms, record.load(now, self._latency_ttl), need, now, risk) > now:
                return None
            claim = Claim(deployment_id, need, record.used.add(now, need))
            record.claims.add(claim)
            return claim

    def settle(self, claim: Claim, outcome: Outcome) -> bool:
        """Replace what was claimed by how the call ended; returns whether the deployment starts to cool down."""
        now = time.monotonic()
        with self._lock:
            record = self._record(claim.deployment_id)
            if claim not in record.claims:
                return False
            record.end(claim, outcome)
            if outcome.failure is not None:
                return record.fail(now, outcome.seconds, outcome.failure, self._cooldowns)
            if outcome.answered:
                record.answer(now, outcome.seconds)
            return False

    def succeed(self, other: MemoryState, ids: Iterable[str]) -> None:
        """Share the records of some deployments, calls in flight included, with another state.

        Args:
            other: The other state, which can still be used.
            ids: The ids of the deployments.
        """
        with other._lock:
            self._lock = other._lock  # one lock for records that both have
            self._records |= {each: other._records[each] for each in ids if each in other._records}

    def impose(self, deployment_id: str, *, cooling: float, retry: float, half_open: bool) -> None:
        """Let a deployment cool down as another process has decided, or end its cooldown.

        Args:
            deployment_id: The deployment.
            cooling: Seconds until the cooldown ends.
            retry: Seconds until the time that the server reported.
            half_open: Whether it has failed, and has not answered since.
        """
        now = time.monotonic()
        with self._lock:
            record = self._record(deployment_id)
            record.cooling_until, record.retry_at, record.half_open = now + cooling, now + retry, half_open

    def _record(self, deployment_id: str) -> _Record:
        record = self._records.get(deployment_id)
        if record is None:
            if len(self._records) >= _MAX_RECORDS:
                self._delete_idle(time.monotonic())
            record = self._records[deployment_id] = _Record()
        return record

    def _delete_idle(self, now: float) -> None:
        """Delete the deployments that were not used in the last minute."""
        loads = {each: record.load(now, self._latency_ttl) for each, record in self._records.items()}
        for each, load in loads.items():
            if not (load.in_flight or load.requests or load.cooling_until > now):
                del self._records[each]


class _Record:
    """The state of one deployment; `Load` describes what its attributes mean."""

    def __init__(self) -> None:
        self.claims: set[Claim] = set()
        self.cooling_until = -math.inf
        self.retry_at = -math.inf
        self.half_open = False
        self.used = Window()
        self._failures: deque[float] = deque()
        self._latencies: deque[tuple[float, float]] = deque(maxlen=10)

    def load(self, now: float, latency_ttl: float) -> Load:
        """The load, for a decision."""
        self.used.forget(now)
        recent = [seconds for when, seconds in self._latencies if when > now - latency_ttl]
        return Load(
            in_flight=len(self.claims),
            cooling_until=self.cooling_until,
            retry_at=self.retry_at,
            half_open=self.half_open,
            latency=math.fsum(recent) / len(recent) if recent else 0.0,
            requests=self.used.requests,
            tokens=self.used.tokens,
            slots=self.used.slots,
        )

    def end(self, claim: Claim, outcome: Outcome) -> None:
        """Count what a call really used in place of the estimate."""
        self.claims.remove(claim)
        more = 0 if outcome.tokens is None else math.ceil(outcome.tokens) - claim.need.tokens
        self.used.change(claim.slot, outcome.requests - claim.need.requests, more)

    def answer(self, now: float, seconds: float) -> None:
        """Count an answer; the deployment works again."""
        self.half_open = False
        self._latencies.append((now, seconds))

    def fail(self, now: float, seconds: float, failure: Failure, cooldowns: Cooldowns) -> bool:
        """Count a failure; returns whether the deployment worked until now, and starts to cool down."""
        self._failures.extend([now] * failure.count)
        while self._failures and self._failures[0] <= now - MINUTE:
            self._failures.popleft()
        self._latencies.append((now, seconds))
        pause = cooldowns.seconds(failure, failures=len(self._failures), half_open=self.half_open)
        if pause is None:
            return False
        worked = not self.half_open and self.cooling_until <= now
        self.cooling_until = max(now + pause, self.cooling_until)
        self.half_open = self.half_open or not failure.rate_limited
        if failure.rate_limited or failure.retry_after is not None:
            self.retry_at = max(now + pause, self.retry_at)
        return worked
