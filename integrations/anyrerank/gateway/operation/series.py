"""Numbers for Prometheus, which only the event loop changes: without locks, a request costs microseconds."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

Labels = tuple[str, ...]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Totals:
    """A number that only grows, for each combination of labels."""

    def __init__(self, name: str, help_text: str, *labels: str) -> None:
        self._described = (name, help_text, labels)
        self._values: defaultdict[Labels, float] = defaultdict(float)
        if not labels:
            self._values[()] = 0.0

    def add(self, amount: float, *labels: str) -> None:
        """Add an amount that is not negative."""
        self._values[labels] += amount

    def collect(self) -> CounterMetricFamily:
        """For the registry."""
        name, help_text, labels = self._described
        family = CounterMetricFamily(name, help_text, labels=labels)
        for values, total in self._values.items():
            family.add_metric(values, total)
        return family


class Durations:
    """How many durations fell into which bucket, for each combination of labels."""

    def __init__(self, name: str, help_text: str, *labels: str, bounds: Sequence[float] = SECONDS) -> None:
        self._described = (name, help_text, labels)
        self._bounds = bounds
        self._counts: defaultdict[Labels, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self._sums: defaultdict[Labels, float] = defaultdict(float)

    def add(self, seconds: float, *labels: str) -> None:
        """Count a duration."""
        self._counts[labels][bisect_left(self._bounds, seconds)] += 1
        self._sums[labels] += seconds

    def collect(self) -> HistogramMetricFamily:
        """For the registry."""
        name, help_text, labels = self._described
        family = HistogramMetricFamily(name, help_text, labels=labels)
        names = [*map(str, self._bounds), "+Inf"]
        for values, counts in self._counts.items():
            buckets = list(zip(names, map(float, accumulate(counts)), strict=True))
            family.add_metric(values, buckets, self._sums[values])
        return family


class Names:
    """Limits the number of different values of a label, which may come from clients."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, name: str | None) -> str:
        """The name, or `other` if there are too many."""
        if name is None:
            return ""
        if name not in self._known:
            if len(self._known) >= self._limit:
                return "other"
            self._known.add(name)
        return name
