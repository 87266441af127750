"""Statistical significance of differences: paired bootstrap intervals and a paired randomisation test.

Smucker, Allan and Carterette, "A Comparison of Statistical Significance Tests for Information Retrieval Evaluation",
CIKM 2007; Efron and Tibshirani, "An Introduction to the Bootstrap", 1993; for several comparisons, Holm, "A Simple
Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from anyrerank._core.types import public
from anyrerank.errors import MissingExtraError

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:
    raise MissingExtraError("anyrerank.evaluation needs NumPy: pip install 'anyrerank[evaluation]'") from error

_SEED = 0
"""The same resamples every time."""
_RESAMPLES = 10_000
_CHUNK = 2_000_000
"""Numbers in memory at once while resampling."""
_LEVEL = 0.05


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of one ranking to a baseline, over the same queries.

    Attributes:
        mean: Mean difference.
        low, high: 95% bootstrap interval of the mean. When several rankings are compared with one baseline, the
            intervals are simultaneous: all of them cover the true difference in 95 of 100 comparisons.
        p_value: Probability of a mean at least as far from 0 if there were no difference. From a randomisation test
            that flips the signs of the differences, with Holm's correction for several comparisons. It cannot become
            small with a handful of queries.
        significant: Whether `p_value` is below 0.05.
    """

    mean: float
    low: float
    high: float
    p_value: float
    significant: bool


def differences(scores: Mapping[str, Sequence[float]], baseline: Sequence[float]) -> dict[str, Difference]:
    """Compare several rankings with one baseline.

    Args:
        scores: For each ranking its scores, query by query.
        baseline: The scores of the baseline, for the same queries in the same order.
    """
    if not (baseline and scores):
        return {}
    names, rng = list(scores), np.random.default_rng(_SEED)
    gaps = np.array([np.subtract(scores[name], baseline) for name in names], dtype=float).reshape(len(names), -1)
    level = _LEVEL / len(names)
    lows, highs = np.quantile(_bootstrap_means(gaps, rng), (level / 2, 1 - level / 2), axis=1)
    p_values = _holm(_sign_flip_p_values(gaps, rng))
    return {
        name: Difference(
            mean=float(gaps[row].mean()),
            low=float(lows[row]),
            high=float(highs[row]),
            p_value=p_values[row],
            significant=p_values[row] < _LEVEL,
        )
        for row, name in enumerate(names)
    }


def interval(scores: Sequence[float]) -> tuple[float, float]:
    """The 95% bootstrap interval of a mean; `(0, 0)` without scores."""
    if not scores:
        return 0.0, 0.0
    means = _bootstrap_means(np.array([scores], dtype=float), np.random.default_rng(_SEED))
    low, high = np.quantile(means[0], (_LEVEL / 2, 1 - _LEVEL / 2))
    return float(low), float(high)


def _sign_flip_p_values(gaps: NDArray[np.float64], rng: np.random.Generator) -> list[float]:
    """For each row, how often randomly flipped signs give a mean at least as far from 0."""
    rows, count = gaps.shape
    observed = np.abs(gaps.mean(axis=1)) - 1e-12
    extreme = np.ones(rows)
    for start, stop in _chunks(count):
        signs = rng.choice((-1.0, 1.0), size=(stop - start, count))
        extreme += (np.abs(signs @ gaps.T / count) >= observed).sum(axis=0)
    return [float(each) for each in extreme / (_RESAMPLES + 1)]


def _holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for several comparisons."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, row in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[row] * (len(p_values) - rank)))
        adjusted[row] = largest
    return adjusted


def _bootstrap_means(rows: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The means of each row over resampled queries; every sample is shared by all rows."""
    count = rows.shape[1]
    means = np.empty((rows.shape[0], _RESAMPLES))
    for start, stop in _chunks(count):
        sample = rng.integers(0, count, size=(stop - start, count))
        for row, numbers in enumerate(rows):
            means[row, start:stop] = numbers[sample].mean(axis=1)
    return means


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    """Ranges of resamples of `count` numbers that fit into memory."""
    step = max(1, _CHUNK // count)
    for start in range(0, _RESAMPLES, step):
        yield start, min(start + step, _RESAMPLES)
