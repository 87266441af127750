"""Which deployment a call asks next: a pure decision on a snapshot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from anyrerank._core.routing.load import Risk, available_at
from anyrerank._core.routing.strategies import Basis, Strategy, Target


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the target at `index`, accepting a `risk`."""

    index: int
    risk: Risk


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """No target is available before `when`."""

    when: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No target can be asked, and it is not known when one can."""


Decision: TypeAlias = Ask | WaitUntil | GiveUp


def decide(targets: Sequence[Target], strategy: Strategy, basis: Basis, now: float, *, last: bool) -> Decision:
    """Decide which target a call asks now.

    Args:
        targets: All deployments of the group.
        strategy: One of `STRATEGIES`, for when several are available.
        basis: The other inputs of the strategy.
        now: Time of the snapshot.
        last: Whether no other group can be asked after this one: then risks are accepted.
    """
    decision: Decision = GiveUp()
    for risk in Risk if last else (Risk.NONE,):
        if risk is Risk.HALF_OPEN and isinstance(decision, WaitUntil):
            break  # wait for another one rather than send more calls to one that may hang
        times = [_ready_at(target, now, risk) for target in targets]
        if ready := [index for index, at in enumerate(times) if at <= now]:
            return Ask(_chosen(targets, ready, strategy, basis), risk)
        when = min(times, default=math.inf)
        decision = WaitUntil(when) if when < math.inf else GiveUp()
    return decision


def _ready_at(target: Target, now: float, risk: Risk) -> float:
    """When a target can be asked; infinity for never, or if that is not known."""
    if target.not_before is None:
        return math.inf
    return max(target.not_before, available_at(target.terms, target.load, target.need, now, risk))


def _chosen(targets: Sequence[Target], ready: Sequence[int], strategy: Strategy, basis: Basis) -> int:
    """Of those not tried yet, if there are any, the ones of the lowest order; of these the strategy's choice."""
    untried = [index for index in ready if not targets[index].tried] or ready
    lowest = min(targets[index].terms.order for index in untried)
    first = [index for index in untried if targets[index].terms.order == lowest]
    return first[strategy([targets[index] for index in first], basis)]
