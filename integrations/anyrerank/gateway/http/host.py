"""What this package needs of the gateway."""

from __future__ import annotations

from typing import Protocol

from anyrerank.gateway import rerank
from anyrerank.gateway.http.audit import Auditor


class Counter(Protocol):
    """Counts requests."""

    def served(self, route: str, status: int) -> None:
        """Count a request that was answered."""


class Host(rerank.Host, Auditor, Protocol):
    """What HTTP needs of the gateway, apart from rerankings."""

    connections: int
    draining: bool

    @property
    def metrics(self) -> Counter:
        """Where requests are counted."""
        ...
