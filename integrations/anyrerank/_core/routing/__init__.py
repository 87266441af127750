"""One call to several models: groups, decisions, shared state, fallbacks, LiteLLM's configuration."""

from anyrerank._core.routing.balancer import Balancer, Rules
from anyrerank._core.routing.chains import Fallbacks, chains
from anyrerank._core.routing.config_file import ConfigFile, located, read_config
from anyrerank._core.routing.cooldowns import Cooldowns
from anyrerank._core.routing.entries import groups_of
from anyrerank._core.routing.groups import Entry, Group
from anyrerank._core.routing.litellm_arguments import options_of
from anyrerank._core.routing.memory_state import MemoryState
from anyrerank._core.routing.recognition import LeftOut, none_found, rerankers_of
from anyrerank._core.routing.settings import RouterSettings, one_of
from anyrerank._core.routing.state import RoutingState
from anyrerank._core.routing.strategies import STRATEGIES

__all__ = [
    "STRATEGIES",
    "Balancer",
    "ConfigFile",
    "Cooldowns",
    "Entry",
    "Fallbacks",
    "Group",
    "LeftOut",
    "MemoryState",
    "RouterSettings",
    "RoutingState",
    "Rules",
    "chains",
    "groups_of",
    "located",
    "none_found",
    "one_of",
    "options_of",
    "read_config",
    "rerankers_of",
]
