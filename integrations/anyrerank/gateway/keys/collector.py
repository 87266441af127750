"""The metrics of keys and of Redis."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from anyrerank._core.pricing import Budget
from anyrerank.gateway.keys.keyring import Keyring
from anyrerank.state import RedisState

_LARGEST = 1000
"""Keys with a budget that are shown."""


class KeyCollector(Collector):
    """What is left of each budget, and whether the database answers."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        known: dict[str, Budget] = {}
        for account in self._keyring.accounts():
            if account.budget is not None and account.budget.is_known and len(known) < _LARGEST:
                known[account.caller.alias or "key"] = account.budget
        labels = ["key_alias"]
        left = GaugeMetricFamily("anyrerank_budget_remaining_dollars", "What a key may still spend.", labels=labels)
        limit = GaugeMetricFamily("anyrerank_budget_dollars", "What a key may spend in a window.", labels=labels)
        for alias, budget in known.items():
            left.add_metric([alias], budget.known_left)
            limit.add_metric([alias], budget.dollars)
        yield from (left, limit)
        yield GaugeMetricFamily(
            "anyrerank_database_up",
            "Whether the database of the keys answers.",
            0.0 if self._keyring.is_failing else 1.0,
        )


class StateCollector(Collector):
    """Whether Redis answers, and how often it did not."""

    def __init__(self, state: RedisState) -> None:
        self._link = state.link

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        yield GaugeMetricFamily("anyrerank_redis_up", "Whether Redis answers.", 0.0 if self._link.is_away else 1.0)
        yield CounterMetricFamily(
            "anyrerank_redis_errors", "Commands and groups of commands that Redis did not answer.", self._link.errors
        )
