"""`general_settings` of LiteLLM's proxy: those that a gateway uses, refuses and ignores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from anyrerank._core.routing import refuse_misspelt
from anyrerank.errors import ConfigurationError
from anyrerank.gateway.settings import GatewaySettings

_HONOURED = {
    "master_key": "master_key",
    "database_url": "database_url",
    "global_max_parallel_requests": "max_in_flight",
    "max_parallel_requests": "max_parallel_requests",
    "allow_requests_on_db_unavailable": "allow_requests_on_db_unavailable",
    "max_request_size_mb": "max_body_mb",
}
"""Settings, and their names in `GatewaySettings`."""

_REFUSED = frozenset(
    {
        "admin_only_routes",
        "allow_client_side_credentials",
        "allow_user_auth",
        "allowed_ips",
        "allowed_routes",
        "custom_auth",
        "custom_key_generate",
        "enable_jwt_auth",
        "enable_oauth2_auth",
        "enable_oauth2_proxy_auth",
        "enforce_user_param",
        "enforced_params",
        "key_management_settings",
        "key_management_system",
        "litellm_jwtauth",
        "litellm_key_header_name",
        "pass_through_endpoints",
        "public_routes",
        "service_account_settings",
        "upperbound_key_generate_params",
        "use_x_forwarded_for",
        "user_header_mappings",
        "user_header_name",
    }
)
"""Settings about trust and access that would be dangerous to ignore."""


def refuse_wrong_names(names: Iterable[str]) -> None:
    """Raise for a misspelt name, or one of a setting in another section.

    Raises:
        ConfigurationError: There is one.
    """
    known = _HONOURED.keys() | _REFUSED
    for name in sorted(map(str, names)):
        if name not in known and name in GatewaySettings.model_fields:
            raise ConfigurationError(f"general_settings: {name} belongs in anyrerank_settings")
    refuse_misspelt("general_settings", names, known | GatewaySettings.model_fields.keys())


def honoured(general: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Arguments of `GatewaySettings`, and the names of settings that have no effect.

    Raises:
        ConfigurationError: A setting about trust or access is not supported.
    """
    for name in sorted(_REFUSED & general.keys()):
        if general[name] not in (None, False, [], {}):
            raise ConfigurationError(f"general_settings: {name} is not supported; remove it")
    given = {ours: general[theirs] for theirs, ours in _HONOURED.items() if general.get(theirs) is not None}
    ignored = sorted(f"general_settings.{name}" for name in general.keys() - _HONOURED.keys() - _REFUSED)
    return given, tuple(ignored)


def may_be_ignored(setting: str) -> bool:
    """Whether a setting such as `general_settings.alerting` has no effect on a gateway.

    Those of `litellm_settings` that have one are checked when the file is read.
    """
    section, _, name = setting.partition(".")
    return section == "litellm_settings" or (section == "general_settings" and name not in _HONOURED.keys() | _REFUSED)
