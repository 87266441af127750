"""`litellm_settings` of a configuration file, as arguments of a router and of its deployments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anyrerank._core.pricing import Budget
from anyrerank._core.routing.litellm_cache import cache_of, off_for_reranking
from anyrerank._core.routing.spelling import refuse_misspelt
from anyrerank._core.runtime import resolved_settings
from anyrerank.errors import ConfigurationError

_ARGUMENTS = {
    "allowed_fails": "allowed_fails",
    "cooldown_time": "cooldown_time",
    "default_fallbacks": "default_fallbacks",
    "drop_params": "drop_params",
    "fallbacks": "fallbacks",
    "num_retries": "num_retries",
    "request_timeout": "timeout",
}
"""Settings that a router has under another name, or the same."""
_TLS = frozenset({"ssl_verify", "ssl_certificate"})
_BUDGETS = {"budget": ("max_budget", "budget_duration"), "user_budget": ("max_end_user_budget", None)}
_CACHE = frozenset({"cache", "cache_params"})
_KEPT_ANYWAY = frozenset(
    {
        "redact_messages_in_exceptions",
        "redact_user_api_key_info",
        "require_auth_for_metrics_endpoint",
        "turn_off_message_logging",
    }
)
"""Nothing is logged that these would keep out of the logs, and metrics need a key anyway."""
_USED = frozenset({*_ARGUMENTS, *_TLS, "max_budget", "budget_duration", "max_end_user_budget", *_CACHE, *_KEPT_ANYWAY})
_NUMBERS = frozenset(
    {
        "allowed_fails",
        "budget_duration",
        "cooldown_time",
        "max_budget",
        "max_end_user_budget",
        "num_retries",
        "request_timeout",
    }
)
_GUARDING = frozenset(
    {
        "aporia_prompt_injection",
        "azure_content_safety",
        "banned_keywords",
        "blocked_user_check",
        "detect_prompt_injection",
        "google_text_moderation",
        "hide_secrets",
        "lakera_prompt_injection",
        "llamaguard_moderations",
        "llmguard_moderations",
        "openai_moderations",
        "presidio",
    }
)
"""Callbacks that decide what may be sent."""
_REFUSED: Mapping[str, str] = {
    "guardrails": "write each in the section guardrails, with guardrail_name and litellm_params",
    **dict.fromkeys(("banned_keywords_list", "blocked_user_list", "tag_budget_config"), "remove it"),
    **dict.fromkeys(
        ("default_internal_user_params", "default_max_internal_user_budget", "max_internal_user_budget"),
        "there are no internal users; give keys a max_budget",
    ),
    **dict.fromkeys(
        ("default_key_generate_params", "default_team_params", "key_generation_settings"),
        "give each key what it may do when it is made",
    ),
    "upperbound_key_generate_params": "nothing would limit what keys are made with; remove it",
    "api_base": "documents would be sent elsewhere; set api_base in each litellm_params",
}
"""Settings about money, access, and where documents go that are not supported, and what to do."""


@dataclass(frozen=True, slots=True)
class FromLiteLLM:
    """What `litellm_settings` say.

    Attributes:
        arguments: Of a router.
        params: For the `litellm_params` of every deployment that does not have them.
        ignored: Names of settings that have no effect.
    """

    arguments: Mapping[str, Any]
    params: Mapping[str, Any]
    ignored: tuple[str, ...]


def read_settings(section: Mapping[str, Any], where: str) -> FromLiteLLM:
    """What `litellm_settings` say.

    Raises:
        ConfigurationError: A wrong value, a variable that is not set, or a setting that must not be ignored.
    """
    refuse_misspelt("litellm_settings", section, {*_USED, *_REFUSED})
    _refuse(section)
    set_ = {name: value for name, value in section.items() if name in _USED - _CACHE and value is not None}
    given = resolved_settings(set_, where, numbers=_NUMBERS)
    arguments = {ours: given[theirs] for theirs, ours in _ARGUMENTS.items() if theirs in given}
    if given.get("budget_duration") is not None and given.get("max_budget") is None:
        raise ConfigurationError("litellm_settings: budget_duration needs a max_budget")
    for argument, (dollars, window) in _BUDGETS.items():
        if given.get(dollars) is not None:
            arguments[argument] = _budget(dollars, given[dollars], given.get(window) if window else None)
    off = off_for_reranking(section, where)
    cache = cache_of(section, where) if off is None else None
    without_effect = [*map(str, section.keys() - _USED), *([] if off is None else [f"cache (cache_params: {off})"])]
    return FromLiteLLM(
        arguments={**arguments, **({} if cache is None else {"cache": cache})},
        params={name: given[name] for name in _TLS & given.keys()},
        ignored=tuple(sorted(without_effect)),
    )


def _refuse(section: Mapping[str, Any]) -> None:
    for name in sorted(_REFUSED.keys() & section.keys()):
        if section[name]:
            raise ConfigurationError(f"litellm_settings: {name} is not supported: {_REFUSED[name]}")
    for name, value in section.items():
        names = value if isinstance(value, list) else [value]
        guarding = [each for each in names if isinstance(each, str) and each in _GUARDING]
        if str(name).endswith("callbacks") or str(name).endswith("callback"):
            for each in guarding:
                raise ConfigurationError(
                    f"litellm_settings: {name}: {each} decides what may be sent, and is not supported there; remove "
                    "it, and write a guardrail in the section guardrails"
                )


def _budget(name: str, dollars: Any, window: Any) -> Budget:
    try:
        return Budget(dollars, window)
    except ConfigurationError as error:
        raise ConfigurationError(f"litellm_settings: {name}: {error.message}") from None
