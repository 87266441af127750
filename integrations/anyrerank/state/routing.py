"""The routing state in Redis, which a router shares with its replicas: rates, cooldowns and trial calls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import uuid4

from anyrerank._core.redis import RedisLink, RedisUnavailableError, Script
from anyrerank._core.routing import (
    LONGEST_COOLDOWN,
    MINUTE,
    Claim,
    Cooldowns,
    Failure,
    Load,
    MemoryState,
    Need,
    Outcome,
    Risk,
    RoutingState,
    Slot,
    Snapshot,
    Terms,
    available_at,
)
from anyrerank._core.runtime import Flow, arun, run
from anyrerank.state.calls import Counted, RedisCalls
from anyrerank.state.notifications import Notifications, read
from anyrerank.state.replies import reply_to

_FAIL = Script("anyrerank.state.scripts", "fail")
_END_TRIAL = Script("anyrerank.state.scripts", "end_trial")
_COOLDOWNS = Script("anyrerank.state.scripts", "cooldowns")
_LONGEST_TRIAL = 60.0
"""Seconds after which another process may try a deployment, if it has no timeout of its own."""
_MOST_COUNTED = 10_000
"""Deployments whose use is remembered: only names that callers send for a wildcard can exceed it."""
_TRIAL_PAUSE = 0.5
"""Seconds to wait while another process tries a deployment."""


class Home(Protocol):
    """The `RedisState` that this is a part of."""

    link: RedisLink
    prefix: str
    notifications: Notifications

    def routing(self, cooldowns: Cooldowns, latency_ttl: float) -> RoutingState:
        """Make this part."""
        ...


@dataclass(frozen=True, slots=True)
class _Shared:
    """What a claim holds in Redis: whether its use is counted, in which second if that is known, and its trial's id."""

    is_counted: bool = False
    second: int | None = None
    trial: str | None = None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Until when a deployment takes no call, or if `used` is known, no call that is too large to be added to that."""

    until: float
    used: Counted | None = None

    def seen_in(self, load: Load) -> Load:
        """The load, with the use that the server reported."""
        if self.used is None:
            until = self.until
            return replace(load, cooling_until=max(load.cooling_until, until), retry_at=max(load.retry_at, until))
        slot = Slot(self.until - MINUTE, max(load.requests, self.used.requests), max(load.tokens, self.used.tokens))
        return replace(load, requests=slot.requests, tokens=slot.tokens, slots=(slot,))


class RedisRouting(RoutingState):
    """Loads and latencies of this process; rates and cooldowns of all.

    A call at a deployment that works and has no limits asks nothing of the server: cooldowns arrive as news. The server
    decides on limits, and on who tries a deployment that had failed.

    Args:
        home: Has the connection.
        cooldowns: When a deployment cools down.
        latency_ttl: Seconds for which a latency counts.
    """

    def __init__(self, home: Home, cooldowns: Cooldowns, latency_ttl: float) -> None:
        self._home = home
        self._cooldowns = cooldowns
        self._latency_ttl = latency_ttl
        self._local = MemoryState(cooldowns, latency_ttl)
        self._refusals: dict[str, _Refusal] = {}
        self._shared: dict[Claim, _Shared] = {}
        self._counted: dict[str, RedisCalls] = {}
        home.notifications.add(self)

    def __reduce__(self) -> tuple[Callable[..., RoutingState], tuple[Home, Cooldowns, float]]:
        return (_routing, (self._home, self._cooldowns, self._latency_ttl))

    def snapshot(self, ids: Sequence[str]) -> Snapshot:
        """The loads of the deployments with these ids, as this process knows them."""
        self._home.notifications.start()
        found = self._local.snapshot(ids)
        if not self._refusals:
            return found
        return Snapshot(found.now, {each: self._filled(each, load, found.now) for each, load in found.loads.items()})

    def claim(self, deployment_id: str, terms: Terms, need: Need, risk: Risk) -> Claim | None:
        """Count a call that starts at a deployment, or return `None` if it has become unavailable."""
        return run(self._claiming(deployment_id, terms, need, risk))

    async def aclaim(self, deployment_id: str, terms: Terms, need: Need, risk: Risk) -> Claim | None:
        """`claim`, on the running event loop."""
        return await arun(self._claiming(deployment_id, terms, need, risk))

    def settle(self, claim: Claim, outcome: Outcome) -> bool:
        """Replace what was claimed by how the call ended; returns whether the deployment starts to cool down."""
        shared = self._shared.pop(claim, None)
        if shared is None:
            return False
        was_half_open = self._half_open(claim.deployment_id)
        starts = self._local.settle(claim, outcome)
        if shared.is_counted:
            requests = outcome.requests - claim.need.requests
            tokens = 0 if outcome.tokens is None else math.ceil(outcome.tokens) - claim.need.tokens
            if requests or tokens:
                self._calls(claim.deployment_id).correct(shared.second, requests, tokens)
        if outcome.failure is not None:
            self._fail(claim.deployment_id, outcome.failure)
        elif shared.trial is not None or (was_half_open and outcome.answered):
            self._end_trial(claim.deployment_id, shared.trial, answered=outcome.answered)
        return starts

    def connected(self) -> None:
        """Read the cooldowns of other processes."""
        for text in self._home.link.call(_COOLDOWNS.command([self._key("cooldowns")], [])):
            if (message := read(text)) is not None:
                self.received(message)

    def lost(self, loss: str | None) -> None:
        """Give back the use of the last minute; a deployment that fails cools down again."""
        if loss is None:
            return
        for each in self._counted.copy().values():
            each.give_back(loss)

    def received(self, message: dict[str, Any]) -> None:
        """Take over a cooldown, or its end."""
        match message:
            case {
                "deployment": str(deployment_id),
                "cooling": int() | float() as cooling,
                "retry": int() | float() as retry,
                "half_open": bool(half_open),
            }:
                self._local.impose(deployment_id, cooling=cooling, retry=retry, half_open=half_open)

    def _claiming(self, deployment_id: str, terms: Terms, need: Need, risk: Risk) -> Flow[Claim | None]:
        is_trial = risk < Risk.HALF_OPEN and self._half_open(deployment_id)
        claim = self._local.claim(deployment_id, terms, need, risk)
        if claim is None:
            return None
        if not is_trial and terms.rpm is None and terms.tpm is None:
            self._shared[claim] = _Shared()
            return claim
        try:
            found = yield from self._asked(deployment_id, terms, need, is_trial=is_trial)
        except RedisUnavailableError as error:
            self._undo(claim)
            claim = self._claimed_here(deployment_id, terms, need, risk)
            if claim is not None and self._shared[claim].is_counted:
                calls = self._calls(deployment_id)
                calls.add(need.requests, need.tokens, is_counted=error.timed_out)
            return claim
        except BaseException:
            self._undo(claim)
            raise
        if isinstance(found, _Refusal):
            self._undo(claim)
            self._refusals[deployment_id] = found
            return None
        self._shared[claim] = found
        return claim

    def _asked(self, deployment_id: str, terms: Terms, need: Need, *, is_trial: bool) -> Flow[_Shared | _Refusal]:
        """Claim a call on the server."""
        trial = uuid4().hex if is_trial else None
        try:
            if trial is not None:
                milliseconds = int((terms.timeout or _LONGEST_TRIAL) * 1000)
                command = ("SET", self._trial(deployment_id), trial, "NX", "PX", milliseconds)
                if (yield from reply_to(self._home.link, command)) is None:
                    return _Refusal(time.monotonic() + _TRIAL_PAUSE)
            if terms.rpm is None and terms.tpm is None:
                return _Shared(trial=trial)
            counted = yield from self._calls(deployment_id).count(terms.rpm, terms.tpm, need.requests, need.tokens)
        except BaseException:
            if trial is not None:
                self._end_trial(deployment_id, trial, answered=False)
            raise
        if counted.second is not None:
            return _Shared(is_counted=True, second=counted.second, trial=trial)
        if trial is not None:
            self._end_trial(deployment_id, trial, answered=False)
        return _Refusal(time.monotonic() + counted.wait, counted)

    def _claimed_here(self, deployment_id: str, terms: Terms, need: Need, risk: Risk) -> Claim | None:
        """Claim within this process's share of the limits, while the server does not answer."""
        terms = _share(terms, self._home.notifications.replicas)
        claim = self._local.claim(deployment_id, terms, need, risk)
        if claim is None:
            found = self._local.snapshot([deployment_id])
            when = available_at(terms, found.loads[deployment_id], need, found.now, risk)
            self._refusals[deployment_id] = _Refusal(min(when, found.now + _TRIAL_PAUSE))
            return None
        self._shared[claim] = _Shared(is_counted=terms.rpm is not None or terms.tpm is not None)
        return claim

    def _undo(self, claim: Claim) -> None:
        self._local.settle(claim, Outcome(seconds=0.0, requests=0, tokens=0.0))

    def _half_open(self, deployment_id: str) -> bool:
        return self._local.snapshot([deployment_id]).loads[deployment_id].half_open

    def _filled(self, deployment_id: str, load: Load, now: float) -> Load:
        """A load, with the use that the server reported when it refused a call."""
        refusal = self._refusals.get(deployment_id)
        if refusal is None:
            return load
        if refusal.until <= now:
            self._refusals.pop(deployment_id, None)
            return load
        return refusal.seen_in(load)

    def _fail(self, deployment_id: str, failure: Failure) -> None:
        asked_for = "" if failure.retry_after is None else min(failure.retry_after, LONGEST_COOLDOWN)
        rules = self._cooldowns
        self._home.link.post(
            _FAIL.command(
                [self._key("cooldowns"), self._trial(deployment_id), self._key("failures", deployment_id)],
                [
                    self._home.notifications.channel,
                    deployment_id,
                    rules.cooldown_time,
                    rules.allowed_fails,
                    failure.count,
                    asked_for,
                    int(failure.lasting),
                    int(failure.rate_limited),
                    uuid4().hex,
                    0,
                ],
            )
        )

    def _end_trial(self, deployment_id: str, trial: str | None, *, answered: bool) -> None:
        keys = [self._key("cooldowns"), self._trial(deployment_id)]
        args: list[str | int] = [self._home.notifications.channel, deployment_id, trial or "", int(answered), 0]
        self._home.link.post(_END_TRIAL.command(keys, args))

    def _calls(self, deployment_id: str) -> RedisCalls:
        known = self._counted.get(deployment_id)
        if known is None:
            if len(self._counted) >= _MOST_COUNTED:
                self._counted.clear()
            made = RedisCalls(self._home.link, self._key("deployment", deployment_id), self._home.notifications)
            known = self._counted.setdefault(deployment_id, made)
        return known

    def _trial(self, deployment_id: str) -> str:
        return self._key("trial", deployment_id)

    def _key(self, *parts: str) -> str:
        return ":".join((self._home.prefix, *parts))


def _routing(home: Home, cooldowns: Cooldowns, latency_ttl: float) -> RoutingState:
    return home.routing(cooldowns, latency_ttl)


def _share(terms: Terms, replicas: int) -> Terms:
    return replace(
        terms,
        rpm=None if terms.rpm is None else max(1, terms.rpm // replicas),
        tpm=None if terms.tpm is None else max(1, terms.tpm // replicas),
    )
