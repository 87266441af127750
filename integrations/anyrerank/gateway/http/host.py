"""What the parts of this room need of the gateway."""

from __future__ import annotations

from typing import Protocol

from anyrerank.gateway.rerank import Service


class Counter(Protocol):
    """Counts requests."""

    def served(self, route: str, status: int) -> None:
        """Count a request that was answered."""


class Host(Protocol):
    """What is needed of the gateway."""

    service: Service
    connections: int

    @property
    def metrics(self) -> Counter:
        """Where requests are counted."""
        ...
