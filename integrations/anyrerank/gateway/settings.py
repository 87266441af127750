"""The settings of a gateway: `anyrerank_settings` and `general_settings` of the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from anyrerank._core.runtime import did_you_mean
from anyrerank.errors import ConfigurationError

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


class GatewaySettings(BaseModel):
    """The settings of a gateway: those of LiteLLM's file that it uses, and further ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    master_key: SecretStr | None = None
    """The key that may do everything. Without one the gateway answers on loopback only."""
    database_url: SecretStr | None = None
    """Where keys and spend are kept: `sqlite:///path` or a PostgreSQL URL."""
    redis_url: SecretStr | None = None
    """Where replicas share budgets, limits and cooldowns: `redis://user:password@host:port/number`."""
    redis_prefix: Annotated[str, Field(min_length=1)] = "anyrerank"
    """Prefix of all keys in Redis: the same for replicas of one gateway, another for other gateways."""
    redis_seconds: _Seconds = 0.05
    """How long a call waits for Redis, in seconds; a call that a budget limits is refused after that."""
    replicas: _Count = 1
    """How many gateways share a PostgreSQL database without Redis; each has its share of every limit per minute."""
    allow_requests_on_db_unavailable: bool = False
    """Whether the gateway starts, for the master key alone, while its database cannot be used, and budgets allow
    requests while Redis does not answer."""
    max_parallel_requests: _Count | None = None
    """Maximum number of concurrent requests of a key that has no limit of its own."""
    max_in_flight: _Count = 256
    """Maximum number of concurrent requests."""
    queue: Annotated[int, Field(ge=0)] = 64
    """Maximum number of requests that wait."""
    queue_seconds: Annotated[float, Field(ge=0)] = 1.0
    """How long a request may wait, in seconds."""
    max_body_mb: Annotated[float, Field(gt=0)] = 16.0
    """Largest body, in MiB."""
    max_held_mb: Annotated[float, Field(gt=0)] = 512.0
    """Largest sum of the bodies of the requests that are worked on, in MiB; their copies need a few times as much."""
    max_documents: _Count = 10_000
    """Maximum number of documents in a request."""
    header_seconds: _Seconds = 10.0
    """Seconds in which the headers of a request must arrive."""
    body_seconds: _Seconds = 30.0
    """Seconds in which its body must arrive."""
    drain_delay: Annotated[float, Field(ge=0)] = 5.0
    """Seconds between SIGTERM and the last new request: load balancers see that it is not ready meanwhile."""
    shutdown_timeout: _Seconds = 30.0
    """Seconds in which the requests in flight must end after that."""
    default_model: str | None = None
    """The model of requests that name none. By default the only one, else the first."""
    access_log: bool = False
    """Whether to log a line of JSON for each request, without texts and keys; so does `litellm_settings.json_logs`."""
    trusted_networks: Mapping[str, str] = {}
    """Networks that need no key, and the alias of the key that counts for them."""
    allowed_origins: tuple[str, ...] = ()
    """Other hosts whose web pages may call the gateway, such as `https://chat.example.com`."""
    allow_score_scale_change: bool | None = None
    """`False` refuses fallbacks to a model whose scores have an unknown scale."""
    cache_isolation: bool = False
    """Whether each key has a cache of its own."""
    metrics_public: bool = False
    """Whether `/metrics` needs no key on other hosts than this one."""


_AT_THE_START = (
    "allow_requests_on_db_unavailable",
    "database_url",
    "redis_prefix",
    "redis_seconds",
    "redis_url",
    "replicas",
    "shutdown_timeout",
)
"""Settings that a gateway uses when it starts, so that a reload does not change them."""


def settings_for_a_restart(used: GatewaySettings, wanted: GatewaySettings) -> list[str]:
    """The settings that only a restart changes, and that are other ones now than when a gateway started."""
    return [name for name in _AT_THE_START if getattr(used, name) != getattr(wanted, name)]


def settings_of(given: Mapping[str, Any], where: str) -> GatewaySettings:
    """The settings in a mapping.

    Raises:
        ConfigurationError: One of them does not exist, or has an invalid value; the message starts with `where`.
    """
    try:
        return GatewaySettings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(name, GatewaySettings.model_fields)
            raise ConfigurationError(f"{where} has no setting {name[:80]}{hint}") from None
        raise ConfigurationError(f"{where}: {name}: {first['msg']}") from None
