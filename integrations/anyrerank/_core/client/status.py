"""How the deployments of a router are doing."""

from __future__ import annotations

from dataclasses import dataclass, field

from anyrerank._core.routing import Balancer, Groups
from anyrerank._core.types import public
from anyrerank.errors import RerankError


@public("anyrerank")
@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """How a deployment of a router is doing.

    Attributes:
        model_name: The name that it belongs to.
        model_id: Its id.
        deployment: Its `provider/model`.
        in_flight: Number of calls in flight.
        cooldown: Seconds until its cooldown ends, or 0.
        cooldowns: How many cooldowns began with a call of this router, in this process.
        requests, tokens: Used in the last minute; tokens where a strategy or a limit counts them.
        error: How it failed last, if it has not answered since.
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
    """How each deployment of each name is doing."""
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
