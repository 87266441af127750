"""One call to several models: groups, decisions, shared state, fallbacks, LiteLLM's configuration."""

from anyrerank._core.routing.balancer import Balancer, Rules
from anyrerank._core.routing.chains import Fallbacks, chain_of, chains, chains_of
from anyrerank._core.routing.config_file import ConfigFile, located, read_config
from anyrerank._core.routing.cooldowns import LONGEST_COOLDOWN, Cooldowns
from anyrerank._core.routing.entries import Located, full_name
from anyrerank._core.routing.groups import Entry, Group
from anyrerank._core.routing.litellm_arguments import options_of
from anyrerank._core.routing.litellm_guardrails import NamedGuardrail
from anyrerank._core.routing.load import Load, Risk, Terms, available_at
from anyrerank._core.routing.memory_state import MemoryState
from anyrerank._core.routing.recognition import LeftOut, none_found, rerankers_of, warning_of
from anyrerank._core.routing.settings import RouterSettings, aliases_of
from anyrerank._core.routing.shared import SharedState, routing_state
from anyrerank._core.routing.spelling import refuse_misspelt
from anyrerank._core.routing.state import Claim, Failure, Outcome, RoutingState, Snapshot
from anyrerank._core.routing.strategies import STRATEGIES
from anyrerank._core.routing.wildcards import Groups, groups_of, is_wildcard
from anyrerank._core.routing.window import MINUTE, Need, Slot, Window

__all__ = [
    "LONGEST_COOLDOWN",
    "MINUTE",
    "STRATEGIES",
    "Balancer",
    "Claim",
    "ConfigFile",
    "Cooldowns",
    "Entry",
    "Failure",
    "Fallbacks",
    "Group",
    "Groups",
    "LeftOut",
    "Load",
    "Located",
    "MemoryState",
    "NamedGuardrail",
    "Need",
    "Outcome",
    "Risk",
    "RouterSettings",
    "RoutingState",
    "Rules",
    "SharedState",
    "Slot",
    "Snapshot",
    "Terms",
    "Window",
    "aliases_of",
    "available_at",
    "chain_of",
    "chains",
    "chains_of",
    "full_name",
    "groups_of",
    "is_wildcard",
    "located",
    "none_found",
    "options_of",
    "read_config",
    "refuse_misspelt",
    "rerankers_of",
    "routing_state",
    "warning_of",
]
