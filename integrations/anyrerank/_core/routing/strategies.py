"""Strategies: which of several available deployments is asked. Pure functions."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeAlias, TypeVar

from anyrerank._core.routing.load import Load, Terms
from anyrerank._core.routing.window import Need


def _unknown() -> None:
    """The cost of a call whose price is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A deployment in the decision of a call.

    Attributes:
        terms: Its weight, limits and order.
        load: Its recent use.
        need: Estimated requests and tokens of the call.
        not_before: When this call may ask it, or `None` for never again.
        tried: Whether this call has asked it before.
        cost: Returns the estimated cost of the call in US dollars, or `None` if unknown.
    """

    terms: Terms
    load: Load
    need: Need = field(default_factory=Need)
    not_before: float | None = -math.inf
    tried: bool = False
    cost: Callable[[], float | None] = _unknown


@dataclass(frozen=True, slots=True)
class Basis:
    """The inputs of a strategy besides the deployments.

    Attributes:
        rng: Returns a random number from 0 to just under 1, as `random.random`.
        buffer: A deployment counts as fast as the fastest one if it is slower by at most this fraction.
    """

    rng: Callable[[], float]
    buffer: float = 0.0


Strategy: TypeAlias = Callable[[Sequence[Target], Basis], int]
"""Returns the index of the target to ask."""


def _shuffled(targets: Sequence[Target], basis: Basis) -> int:
    """At random, in proportion to the weights; without weights to rpm or tpm, if all have one."""
    bounds = list(accumulate(_shares(targets)))
    return bisect_right(bounds, basis.rng() * bounds[-1])


def _shares(targets: Sequence[Target]) -> Sequence[float]:
    weights = [target.terms.weight for target in targets]
    shares = [1.0 if weight is None else weight for weight in weights]
    if any(shares) and any(weight is not None for weight in weights):
        return shares
    for limits in ([each.terms.rpm for each in targets], [each.terms.tpm for each in targets]):
        if known := [float(limit) for limit in limits if limit]:
            return known if len(known) == len(limits) else [1.0] * len(limits)
    return [1.0] * len(targets)


def _least_busy(targets: Sequence[Target], basis: Basis) -> int:
    return _lowest([target.load.in_flight for target in targets], basis)


def _fastest(targets: Sequence[Target], basis: Basis) -> int:
    seconds = [target.load.latency for target in targets]
    fast = min(seconds) * (1 + basis.buffer)
    return _lowest([max(each, fast) for each in seconds], basis)


def _least_used(targets: Sequence[Target], basis: Basis) -> int:
    """By the used fraction of their limits, if all have some; else by tokens, then requests, of the last minute."""
    if all(target.terms.rpm or target.terms.tpm for target in targets):
        return _lowest([_fraction_used(target) for target in targets], basis)
    return _lowest([(target.load.tokens, target.load.requests) for target in targets], basis)


def _fraction_used(target: Target) -> float:
    terms, load = target.terms, target.load
    return max(load.requests / (terms.rpm or math.inf), load.tokens / (terms.tpm or math.inf))


def _cheapest(targets: Sequence[Target], basis: Basis) -> int:
    """By what the call costs; an unknown price comes last."""
    costs = [target.cost() for target in targets]
    return _lowest([math.inf if cost is None else cost for cost in costs], basis)


N = TypeVar("N", float, tuple[int, int])


def _lowest(numbers: Sequence[N], basis: Basis) -> int:
    """The index of the lowest number; at random if several are equal."""
    lowest = min(numbers)
    best = [index for index, number in enumerate(numbers) if number == lowest]
    return best[int(basis.rng() * len(best))]


STRATEGIES: Mapping[str, Strategy] = {
    "simple-shuffle": _shuffled,
    "least-busy": _least_busy,
    "latency-based-routing": _fastest,
    "usage-based-routing": _least_used,
    "usage-based-routing-v2": _least_used,
    "cost-based-routing": _cheapest,
}
