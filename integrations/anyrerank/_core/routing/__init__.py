"""One call to several models: groups, decisions, shared state, fallbacks, LiteLLM's configuration."""

from anyrerank._core.routing.balancer import Balancer, Rules
from anyrerank._core.routing.chains import Fallbacks, chains
from anyrerank._core.routing.config_file import router_arguments
from anyrerank._core.routing.cooldowns import Cooldowns
from anyrerank._core.routing.entries import groups_of
from anyrerank._core.routing.groups import Entry, Group
from anyrerank._core.routing.memory_state import MemoryState
from anyrerank._core.routing.settings import RouterSettings, one_of
from anyrerank._core.routing.state import RoutingState
from anyrerank._core.routing.strategies import STRATEGIES

__all__ = [
    "STRATEGIES",
    "Balancer",
    "Cooldowns",
    "Entry",
    "Fallbacks",
    "Group",
    "MemoryState",
    "RouterSettings",
    "RoutingState",
    "Rules",
    "chains",
    "groups_of",
    "one_of",
    "router_arguments",
]
