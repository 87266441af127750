"""The interface of a state that routers of several processes share."""

from __future__ import annotations

from typing import Protocol

from anyrerank._core.engine import Options
from anyrerank._core.pricing import BudgetState
from anyrerank._core.routing.cooldowns import Cooldowns
from anyrerank._core.routing.memory_state import MemoryState
from anyrerank._core.routing.settings import RouterSettings
from anyrerank._core.routing.state import RoutingState
from anyrerank._core.routing.wildcards import Groups
from anyrerank.errors import ConfigurationError


class SharedState(Protocol):
    """A state that several processes share, such as an `anyrerank.state.RedisState`."""

    @property
    def budgets(self) -> BudgetState:
        """The state of budgets."""
        ...

    def routing(self, cooldowns: Cooldowns, latency_ttl: float) -> RoutingState:
        """The routing state that a router shares with its replicas.

        Args:
            cooldowns: When a deployment cools down.
            latency_ttl: Seconds for which a latency counts.
        """
        ...


def routing_state(
    settings: RouterSettings, shared: SharedState | None, groups: Groups, options: Options
) -> RoutingState:
    """The state of a router, after its budgets were shared too, except those that have a state of their own.

    Args:
        settings: Those of the router.
        shared: What it shares with its replicas; `None` if it has none.
        groups: Its deployments.
        options: Of its calls.

    Raises:
        ConfigurationError: `shared` is something else.
    """
    if shared is None:
        return MemoryState(settings.cooldowns, settings.latency_ttl)
    if not hasattr(shared, "routing"):
        raise ConfigurationError(f"state must be a RedisState, got {type(shared).__name__}")
    for model_id, budget in groups.budgets.items():
        budget.share(shared, f"deployment:{model_id}")
    own = {f"router:{number}": budget for number, budget in enumerate(options.shared_budgets)}
    if options.user_budget is not None:
        own["user:each"] = options.user_budget
    for name, budget in own.items():
        if budget.shared_in is None:
            budget.share(shared, name)
    return shared.routing(settings.cooldowns, settings.latency_ttl)
