"""Merging the metrics of all workers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_LOWEST = frozenset(
    {
        "anyrerank_budget_dollars",
        "anyrerank_budget_remaining_dollars",
        "anyrerank_database_up",
        "anyrerank_deployment_state",
        "anyrerank_ledger_queue_bytes",  # the workers have one spool
        "anyrerank_redis_up",
        "process_start_time_seconds",
    }
)
"""Metrics of which the lowest counts; of the others the sum."""
_GROWING = frozenset({"counter", "histogram"})


class WorkerMetrics(Collector):
    """Adds what other workers have written to the metrics of this one.

    Args:
        own: The metrics of this worker.
        folder: Where each worker writes its metrics, about once a second.
        number: Of this worker.
    """

    def __init__(self, own: CollectorRegistry, folder: Path, number: int) -> None:
        self._own = own
        self._folder = folder
        self._file = folder / f"{number}.json"
        self._past = _read(self._file)
        """Of the worker that this one has replaced."""

    def write(self) -> None:
        """Let other workers know the metrics of this one."""
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps([_plain(family) for family in self._families()]), encoding="utf-8")
        partial.replace(self._file)

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        others = [_read(file) for file in self._folder.glob("*.json") if file != self._file]
        return merged([*self._families(), *(_metric(each) for other in others for each in other)])

    def _families(self) -> list[Metric]:
        """The metrics of this worker and, of those that only grow, of its predecessors."""
        past = [_metric(each) for each in self._past if each["type"] in _GROWING]
        return merged([*self._own.collect(), *past])


def merged(families: Iterable[Metric]) -> list[Metric]:
    """Families with the same name as one."""
    found: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in families:
        found.setdefault(family.name, family)
        sums = values.setdefault(family.name, {})
        for name, labels, value in _samples(family):
            key = (name, tuple(labels.items()))
            if key not in sums:
                sums[key] = value
            else:
                sums[key] = min(sums[key], value) if family.name in _LOWEST else sums[key] + value
    return [_with_samples(family, values[family.name]) for family in found.values()]


def _samples(family: Metric) -> Iterator[tuple[str, dict[str, str], float]]:
    for sample in family.samples:
        yield sample.name, sample.labels, sample.value


def _with_samples(family: Metric, values: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> Metric:
    made = Metric(family.name, family.documentation, family.type)
    for (name, labels), value in values.items():
        made.add_sample(name, dict(labels), value)
    return made


def _plain(family: Metric) -> dict[str, Any]:
    samples = list(_samples(family))
    return {"name": family.name, "help": family.documentation, "type": family.type, "samples": samples}


def _metric(plain: dict[str, Any]) -> Metric:
    made = Metric(plain["name"], plain["help"], plain["type"])
    for name, labels, value in plain["samples"]:
        made.add_sample(name, labels, value)
    return made


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return found
