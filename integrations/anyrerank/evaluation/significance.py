"""Whether a difference is more than chance: the paired bootstrap over queries, with Holm's correction.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993; Holm, "A Simple Sequentially Rejective Multiple Test
Procedure", Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 10_000
_AT_ONCE = 2_000_000
_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one ranking is than another, over the same queries.

    Attributes:
        mean: Mean difference.
        low, high: Its interval, as wide as the number of comparisons beside it demands.
        p: The chance of a difference as large by chance alone, corrected for the number of comparisons.
        clear: Whether the interval leaves out 0.
    """

    mean: float
    low: float
    high: float
    p: float
    clear: bool


def differences(
    against: Mapping[str, Sequence[float]], baseline: Sequence[float], *, seed: int = 0
) -> dict[str, Difference]:
    """Each of several rankings against one.

    Args:
        against: By name the numbers of a ranking, query by query.
        baseline: Those of the one they are compared with, for the same queries in the same order.
        seed: Of the resampling; the same gives the same intervals.
    """
    if not (baseline and against):
        return {}
    names = list(against)
    gaps = np.array([np.subtract(against[name], baseline) for name in names], dtype=float).reshape(len(names), -1)
    means = _resampled(gaps, np.random.default_rng(seed))
    beyond = np.minimum((means <= 0).mean(axis=1), (means >= 0).mean(axis=1))
    chances = np.minimum(1.0, 2 * np.maximum(beyond, 1 / _RESAMPLES))
    found: dict[str, Difference] = {}
    worst, clear = 0.0, True
    for place, each in enumerate(np.argsort(chances, kind="stable")):
        left = len(names) - place
        low, high = np.quantile(means[each], (_LEVEL / left / 2, 1 - _LEVEL / left / 2))
        clear = clear and bool(low > 0 or high < 0)
        worst = max(worst, min(1.0, float(chances[each]) * left))
        found[names[each]] = Difference(float(gaps[each].mean()), float(low), float(high), worst, clear)
    return {name: found[name] for name in names}


def interval(numbers: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a mean."""
    if not numbers:
        return 0.0, 0.0
    means = _resampled(np.array([numbers], dtype=float), np.random.default_rng(seed))
    low, high = np.quantile(means[0], (_LEVEL / 2, 1 - _LEVEL / 2))
    return float(low), float(high)


def _resampled(rows: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """The means of each row over queries that are drawn anew, the same for all rows."""
    count = rows.shape[1]
    means = np.empty((rows.shape[0], _RESAMPLES))
    step = max(1, _AT_ONCE // count)
    for start in range(0, _RESAMPLES, step):
        drawn = random.integers(0, count, size=(min(step, _RESAMPLES - start), count))
        for row, numbers in enumerate(rows):
            means[row, start : start + step] = numbers[drawn].mean(axis=1)
    return means
