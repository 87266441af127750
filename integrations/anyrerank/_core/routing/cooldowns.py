"""When a deployment that failed cools down, and for how many seconds."""

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
        """Seconds to cool down, or `None` for no cooldown.

        Args:
            failure: The last failure.
            failures: Number of failures in the last minute, with this one.
            half_open: Whether the deployment has not answered since its last cooldown.
        """
        if failure.retry_after is not None:
            return min(failure.retry_after, LONGEST_COOLDOWN)
        cools_down = half_open or failure.lasting or failures > self.allowed_fails
        return self.cooldown_time if cools_down else None
