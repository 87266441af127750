"""Strategies: which of several available deployments is asked. Pure functions."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias, TypeVar

from anyrerank._core.routing.load import Load, Terms


@dataclass(frozen=True, slots=True)
class Option:
    """A deployment that may be asked."""

    terms: Terms
    load: Load


@dataclass(frozen=True, slots=True)
class Basis:
    """What a strategy decides on besides the deployments.

    Attributes:
        rng: Gives numbers from 0 to just under 1.
        cost: About how many US dollars the call costs at the option of an index, or `None` if unknown.
        buffer: A deployment counts as fast as the fastest one if it is slower by at most this fraction.
    """

    rng: Callable[[], float]
    cost: Callable[[int], float | None]
    buffer: float = 0.0


Strategy: TypeAlias = Callable[[Sequence[Option], Basis], int]
"""The index of the option that is asked."""


def _shuffled(options: Sequence[Option], basis: Basis) -> int:
    """At random, in proportion to the weights; without weights to rpm or tpm, if all have one."""
    bounds = list(accumulate(_shares(options)))
    return bisect_right(bounds, basis.rng() * bounds[-1])


def _shares(options: Sequence[Option]) -> Sequence[float]:
    weights = [option.terms.weight for option in options]
    shares = [1.0 if weight is None else weight for weight in weights]
    if any(shares) and any(weight is not None for weight in weights):
        return shares
    for limits in ([each.terms.rpm for each in options], [each.terms.tpm for each in options]):
        if known := [float(limit) for limit in limits if limit]:
            return known if len(known) == len(limits) else [1.0] * len(limits)
    return [1.0] * len(options)


def _least_busy(options: Sequence[Option], basis: Basis) -> int:
    return _lowest([option.load.in_flight for option in options], basis)


def _fastest(options: Sequence[Option], basis: Basis) -> int:
    seconds = [option.load.latency for option in options]
    fast = min(seconds) * (1 + basis.buffer)
    return _lowest([max(each, fast) for each in seconds], basis)


def _least_used(options: Sequence[Option], basis: Basis) -> int:
    """By the used fraction of their limits, if all have some; else by tokens, then requests, of the last minute."""
    if all(option.terms.rpm or option.terms.tpm for option in options):
        return _lowest([_fraction_used(option) for option in options], basis)
    return _lowest([(option.load.tokens, option.load.requests) for option in options], basis)


def _fraction_used(option: Option) -> float:
    terms, load = option.terms, option.load
    return max(load.requests / (terms.rpm or math.inf), load.tokens / (terms.tpm or math.inf))


def _cheapest(options: Sequence[Option], basis: Basis) -> int:
    """By what the call costs; an unknown price comes last."""
    costs = [basis.cost(index) for index in range(len(options))]
    return _lowest([math.inf if cost is None else cost for cost in costs], basis)


N = TypeVar("N", float, tuple[int, int])


def _lowest(numbers: Sequence[N], basis: Basis) -> int:
    """The index of the lowest number; at random among several."""
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
