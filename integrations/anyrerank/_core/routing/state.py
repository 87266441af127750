"""The interface of a routing state: the loads, rate limits and cooldowns of deployments, which calls share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyrerank._core.routing.load import Load, Risk, Terms
from anyrerank._core.routing.window import Need


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The loads of some deployments at one moment.

    Attributes:
        now: When it was taken, on the clock of the state.
        loads: By the id of the deployment.
    """

    now: float
    loads: Mapping[str, Load]


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A call that has started at a deployment.

    Attributes:
        deployment_id: The deployment.
        need: The requests and tokens that were counted for the call.
        slot: Start of the second in which it was counted.
    """

    deployment_id: str
    need: Need
    slot: float


@dataclass(frozen=True, slots=True)
class Failure:
    """How a deployment failed.

    Attributes:
        count: Number of requests that failed.
        retry_after: Seconds that the server asks to wait, or `None`.
        lasting: Whether the next call would fail too (refused key, unknown model, rate limit).
        rate_limited: Whether the deployment works, and only its rate limit was reached.
    """

    count: int = 1
    retry_after: float | None = None
    lasting: bool = False
    rate_limited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call at a deployment ended.

    Attributes:
        seconds: Duration.
        requests: Number of requests that were sent.
        tokens: Number of tokens that were used, or `None` to keep the estimate.
        answered: Whether the deployment answered. False if it failed, or if all scores were cached.
        failure: How the deployment failed, or `None` if the call succeeded, was invalid or was cut off.
    """

    seconds: float
    requests: int
    tokens: float | None
    answered: bool = False
    failure: Failure | None = None


class RoutingState(ABC):
    """The state of deployments that calls share, within this process or across several.

    A subclass whose methods wait for a network overrides the asynchronous ones too.
    """

    @abstractmethod
    def snapshot(self, ids: Sequence[str]) -> Snapshot:
        """The loads of the deployments with these ids."""

    @abstractmethod
    def claim(self, deployment_id: str, terms: Terms, need: Need, risk: Risk) -> Claim | None:
        """Count a call that starts at a deployment, or return `None` if it has become unavailable: decide again."""

    @abstractmethod
    def settle(self, claim: Claim, outcome: Outcome) -> bool:
        """Replace what was claimed by how the call ended; returns whether the deployment starts to cool down.

        A claim is settled once: a repetition changes nothing. When a task is cancelled this synchronous form is called
        on its event loop, because the task cannot await anything any more.
        """

    async def asnapshot(self, ids: Sequence[str]) -> Snapshot:
        """`snapshot`, on the running event loop."""
        return self.snapshot(ids)

    async def aclaim(self, deployment_id: str, terms: Terms, need: Need, risk: Risk) -> Claim | None:
        """`claim`, on the running event loop."""
        return self.claim(deployment_id, terms, need, risk)

    async def asettle(self, claim: Claim, outcome: Outcome) -> bool:
        """`settle`, on the running event loop."""
        return self.settle(claim, outcome)
