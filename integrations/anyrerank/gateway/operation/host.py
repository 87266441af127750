"""What this package needs of the gateway."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Protocol

from anyrerank.gateway import http
from anyrerank.gateway.operation.metrics import Metrics

Dependency = Callable[[], str | None]
"""Why the gateway is not ready because of something that it depends on, or `None`. It must not block."""


class Host(http.Host, Protocol):
    """What health, models, metrics and the reload need of the gateway, apart from its HTTP."""

    metrics: Metrics
    dependencies: MutableMapping[str, Dependency]
    helpers: MutableMapping[str, Dependency]

    def tell_workers(self) -> None:
        """Let the other workers read the configuration again."""
        ...

    def reload(self) -> list[str]:
        """Read the configuration again, and return the settings that changed and need a restart."""
        ...
