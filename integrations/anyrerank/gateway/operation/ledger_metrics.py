"""The metrics of the ledger."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from anyrerank.ledger import Ledger


class LedgerCollector(Collector):
    """The bytes that wait for the database, and the calls that were lost."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        yield GaugeMetricFamily(
            "anyrerank_ledger_queue_bytes", "What the database has not got yet.", float(self._ledger.waiting_bytes)
        )
        yield CounterMetricFamily(
            "anyrerank_ledger_dropped", "Calls that were not recorded.", float(self._ledger.lost_calls)
        )
