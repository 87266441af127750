"""One call to several models."""

from anyrerank._core.routing.balancer import Balancer, Rules, Standing
from anyrerank._core.routing.config_file import router_arguments
from anyrerank._core.routing.decisions import STRATEGIES, Cooldowns, cannot_take, first_success
from anyrerank._core.routing.entries import Entry, Fallbacks, Located, chains, entry_of

__all__ = [
    "STRATEGIES",
    "Balancer",
    "Cooldowns",
    "Entry",
    "Fallbacks",
    "Located",
    "Rules",
    "Standing",
    "cannot_take",
    "chains",
    "entry_of",
    "first_success",
    "router_arguments",
]
