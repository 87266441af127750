"""Groups of deployments, one for each name of a router."""

from __future__ import annotations

from dataclasses import dataclass, field

from anyrerank._core.engine import Deployment
from anyrerank._core.routing.load import Terms


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Entry:
    """One deployment of a group.

    Attributes:
        id: Unique in its router; it names the deployment in the `RoutingState`.
        deployment: The deployment.
        terms: Its weight, limits, order and timeout.
    """

    id: str
    deployment: Deployment
    terms: Terms = field(default_factory=Terms)

    @property
    def label(self) -> str:
        """Its name in errors and logs."""
        name = self.deployment.name
        return name if self.deployment.model_id is None else f"{self.id} ({name})"


@dataclass(frozen=True, slots=True)
class Group:
    """The deployments that are asked for one name."""

    name: str
    entries: tuple[Entry, ...]
