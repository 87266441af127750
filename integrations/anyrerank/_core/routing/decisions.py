"""Which deployment a call asks next: a pure decision on a snapshot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from anyrerank._core.routing.load import Load, Need, Risk, Terms, available_at
from anyrerank._core.routing.strategies import Basis, Option, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A deployment of the group that a call asks.

    Attributes:
        terms, load: On what terms it is used, and what happened there lately.
        need: What the call will use there.
        not_before: When this call may ask it (again), or `None` for never.
        tried: Whether this call has asked it before.
    """

    terms: Terms
    load: Load
    need: Need = field(default_factory=Need)
    not_before: float | None = -math.inf
    tried: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the candidate at `index`, accepting a `risk`."""

    index: int
    risk: Risk


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """No candidate is available before `when`."""

    when: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No candidate is left for this call."""


Decision: TypeAlias = Ask | WaitUntil | GiveUp


@dataclass(frozen=True, slots=True)
class Choice:
    """How to choose among available candidates.

    Attributes:
        strategy: One of `STRATEGIES`.
        rng: Gives numbers from 0 to just under 1.
        cost: About how many US dollars the call costs at the candidate of an index, or `None` if unknown.
        buffer: See `Basis`.
    """

    strategy: Strategy
    rng: Callable[[], float]
    cost: Callable[[int], float | None]
    buffer: float = 0.0


def decide(candidates: Sequence[Candidate], choice: Choice, now: float, *, last: bool) -> Decision:
    """Which candidate a call asks now.

    Args:
        candidates: All deployments of the group.
        choice: How to choose among several.
        now: Time of the snapshot.
        last: Whether no other group can be asked after this one: then risks are taken.
    """
    decision: Decision = GiveUp()
    for risk in Risk if last else (Risk.NONE,):
        if risk is Risk.HALF_OPEN and isinstance(decision, WaitUntil):
            break  # better wait for another one than pile up at one that may hang
        times = [_ready_at(candidate, now, risk) for candidate in candidates]
        if ready := _ready(candidates, times, now):
            return Ask(_chosen(candidates, ready, choice), risk)
        later = [at for at in times if at is not None and at < math.inf]
        decision = WaitUntil(min(later)) if later else GiveUp()
    return decision


def _ready_at(candidate: Candidate, now: float, risk: Risk) -> float | None:
    if candidate.not_before is None:
        return None
    return max(candidate.not_before, available_at(candidate.terms, candidate.load, candidate.need, now, risk))


def _ready(candidates: Sequence[Candidate], times: Sequence[float | None], now: float) -> list[int]:
    """Indexes of the candidates that can be asked now: those not tried yet, else the others."""
    ready = [index for index, at in enumerate(times) if at is not None and at <= now]
    return [index for index in ready if not candidates[index].tried] or ready


def _chosen(candidates: Sequence[Candidate], ready: Sequence[int], choice: Choice) -> int:
    lowest = min(candidates[index].terms.order for index in ready)
    first = [index for index in ready if candidates[index].terms.order == lowest]
    options = [Option(candidates[index].terms, candidates[index].load) for index in first]
    basis = Basis(rng=choice.rng, cost=lambda index: choice.cost(first[index]), buffer=choice.buffer)
    return first[choice.strategy(options, basis)]
