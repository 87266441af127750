"""Rate limits that requests wait for."""

from anyrerank._core.limits.limit import Limit
from anyrerank._core.limits.limit_state import HasLimits, LimitState
from anyrerank._core.limits.pace import Need, Pace, Rates
from anyrerank._core.limits.throttle import Throttle

__all__ = ["HasLimits", "Limit", "LimitState", "Need", "Pace", "Rates", "Throttle"]
