"""When a deployment that failed cools down, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from anyrerank._core.routing.state import Failure

LONGEST_COOLDOWN = 3600.0
"""Upper bound in seconds of a cooldown that a server asks for."""


@dataclass(frozen=True, slots=True)
class Cooldowns:
    """When a deployment cools down, in LiteLLM's terms.

    Attributes:
        allowed_fails: Failures per minute that are tolerated.
        cooldown_time: Seconds to cool down, unless the server asks for a time.
    """

    allowed_fails: int = 3
    cooldown_time: float = 5.0

    def seconds(self, failure: Failure, *, failures: int, half_open: bool) -> float | None:
        """How long to cool down, or `None` for not at all.

        Args:
            failure: The last one.
            failures: How many there were in the last minute, this one included.
            half_open: Whether the deployment has not answered since its last cooldown.
        """
        if failure.retry_after is not None:
            return min(failure.retry_after, LONGEST_COOLDOWN)
        cools_down = half_open or failure.lasting or failures > self.allowed_fails
        return self.cooldown_time if cools_down else None
