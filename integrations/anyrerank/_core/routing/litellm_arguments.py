"""LiteLLM's settings of a router: which are used here, which have no effect, and which must not be dropped."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from typing import Any

from anyrerank._core.routing.redis_settings import CLUSTER, REDIS
from anyrerank._core.routing.spelling import refuse_misspelt
from anyrerank.errors import ConfigurationError

_log = logging.getLogger("anyrerank")

USED = frozenset(
    {
        "allowed_fails",
        "cooldown_time",
        "default_fallbacks",
        "fallbacks",
        "max_fallbacks",
        "model_group_alias",
        "num_retries",
        "provider_budget_config",
        "retry_after",
        "routing_strategy",
        "routing_strategy_args",
        "timeout",
    }
)
"""Settings that are passed on to `Router`."""
_BUDGETS = "provider_budget_config"
UNUSED = frozenset(
    {
        "alerting_config",
        "allowed_fails_policy",
        "assistants_config",
        "auto_router_capability_limit",
        "background_health_check_model_groups",
        "cache_kwargs",
        "cache_responses",
        "caching_groups",
        "client_ttl",
        "content_policy_fallbacks",
        "context_window_fallbacks",
        "debug_level",
        "default_litellm_params",
        "default_max_parallel_requests",
        "default_priority",
        "deployment_affinity_ttl_seconds",
        "disable_cooldowns",
        "enable_health_check_routing",
        "enable_pre_call_checks",
        "enable_tag_filtering",
        "enable_weighted_failover",
        "health_check_ignore_transient_errors",
        "health_check_staleness_threshold",
        "ignore_invalid_deployments",
        "model_group_affinity_config",
        "model_group_retry_policy",
        "optional_pre_call_checks",
        "plugins",
        "polling_interval",
        "retry_policy",
        "router_general_settings",
        "routing_groups",
        "search_tools",
        "set_verbose",
        "stream_timeout",
        "tag_filtering_match_any",
        "tag_routing_prefix",
        "weights",
    }
)
"""Arguments of LiteLLM's `Router` that have no effect here."""
_REFUSED: Mapping[str, str] = {
    **dict.fromkeys((*REDIS, CLUSTER), "pass state=anyrerank.state.RedisState(url) instead"),
    "guardrail_list": "it is not supported; pass guardrails to Router, or write them in the section guardrails",
    **dict.fromkeys(("fallback_access_check", "fallback_budget_check"), "it is not supported; remove it"),
}
"""What the user relies on, and why it is refused."""


_OF_EACH = frozenset(
    {"api_base", "base_url", "budget_duration", "guardrails", "max_budget", "ssl_certificate", "ssl_verify"}
)
"""What must not be dropped from `default_litellm_params`."""


def refuse(given: Mapping[str, object]) -> None:
    """Raise for settings about money, trust or shared state that would have no effect.

    Raises:
        ConfigurationError: There is one.
    """
    defaults = given.get("default_litellm_params")
    if isinstance(defaults, Mapping) and (names := sorted(_OF_EACH & defaults.keys())):
        raise ConfigurationError(
            f"default_litellm_params: {', '.join(names)} would have no effect: set it in each litellm_params"
        )
    for name in sorted(given.keys() & _REFUSED.keys()):
        if given[name] is not None:
            raise ConfigurationError(f"{name}: {_REFUSED[name]}")


def refuse_misspelt_in_file(given: Mapping[str, object]) -> None:
    """Raise for a name in the `router_settings` of a file that is nearly that of a setting.

    Raises:
        ConfigurationError: There is one.
    """
    refuse_misspelt("router_settings", given, {*USED, *_REFUSED}, UNUSED)


def options_of(given: Mapping[str, Any], served: Container[str]) -> dict[str, Any]:
    """The further arguments of a `Router` without LiteLLM's that have no effect, which are logged.

    Args:
        given: The arguments.
        served: The providers that are asked.

    Raises:
        ConfigurationError: One of them must not be ignored.
    """
    refuse(given)
    for provider in given.get(_BUDGETS) or ():
        if provider in served:
            raise ConfigurationError(
                f"{_BUDGETS} is not supported; set max_budget and budget_duration in the litellm_params of {provider}"
            )
    if ignored := sorted(name for name in given.keys() & {*UNUSED, _BUDGETS} if given[name] is not None):
        _log.warning("Router: ignored arguments: %s", ", ".join(ignored))
    return {name: value for name, value in given.items() if name not in {*UNUSED, *_REFUSED, _BUDGETS}}
