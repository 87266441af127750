"""The status of the deployments of a router."""

from __future__ import annotations

from dataclasses import dataclass, field

from anyrerank._core.routing import Balancer, Groups
from anyrerank._core.types import public
from anyrerank.errors import RerankError


@public("anyrerank")
@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """The status of a deployment of a router.

    Attributes:
        model_name: The name that it belongs to.
        model_id: Its id.
        deployment: Its `provider/model`.
        in_flight: Number of calls in flight.
        cooldown: Seconds until its cooldown ends, or 0.
        requests, tokens: Used in the last minute; tokens only if a strategy or a limit counts them.
        cooldowns: Number of cooldowns that began with a call of this router, in this process.
        error: Its last error, if it has not answered since.
    """

    model_name: str
    model_id: str
    deployment: str
    in_flight: int
    cooldown: float
    requests: int
    tokens: int
    cooldowns: int = 0
    error: RerankError | None = field(default=None, compare=False)


def statuses(groups: Groups, balancer: Balancer) -> list[DeploymentStatus]:
    """The status of each deployment of each name."""
    entries = [(group.name, entry) for group in groups for entry in group.entries]
    snapshot = balancer.state.snapshot([entry.id for _, entry in entries])
    return [
        DeploymentStatus(
            model_name=name,
            model_id=entry.id,
            deployment=entry.deployment.name,
            in_flight=snapshot.loads[entry.id].in_flight,
            cooldown=max(0.0, snapshot.loads[entry.id].cooling_until - snapshot.now),
            requests=snapshot.loads[entry.id].requests,
            tokens=snapshot.loads[entry.id].tokens,
            cooldowns=balancer.cooldowns(entry.id),
            error=balancer.fault(entry.id),
        )
        for name, entry in entries
    ]
