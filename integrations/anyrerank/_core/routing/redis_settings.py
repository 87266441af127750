"""Where LiteLLM's settings say that Redis is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from anyrerank.errors import ConfigurationError

REDIS = ("redis_url", "redis_host", "redis_port", "redis_password", "redis_db")
"""Names in `router_settings`."""
CLUSTER = "redis_startup_nodes"
_PARTS = ("url", "host", "port", "username", "password", "db", "ssl")


def redis_url_of(settings: Mapping[str, Any], section: str, *, prefix: str = "redis_") -> str | None:
    """The URL that `redis_url`, or `redis_host` and its companions, describe; `None` if there are none.

    Args:
        settings: Without references to variables.
        section: Their name in the file.
        prefix: What the names begin with.

    Raises:
        ConfigurationError: They contradict each other, or describe a cluster.
    """
    if settings.get(CLUSTER) is not None:
        raise ConfigurationError(
            f"{section}: {CLUSTER}: Redis Cluster is not supported; use one server, or its primary"
        )
    given = {name: settings[prefix + name] for name in _PARTS if settings.get(prefix + name) is not None}
    if not given:
        return None
    if "url" in given:
        if len(given) > 1:
            raise ConfigurationError(f"{section}: set either {prefix}url or {prefix}host, not both")
        return str(given["url"])
    if "host" not in given:
        raise ConfigurationError(f"{section}: {prefix}{min(given)} needs a {prefix}host")
    user, password = (quote(str(given.get(name, "")), safe="") for name in ("username", "password"))
    login = f"{user}:{password}@" if user or password else ""
    host = str(given["host"])
    shown = f"[{host}]" if ":" in host else host
    scheme = "rediss" if given.get("ssl") in (True, "true", "True") else "redis"
    return f"{scheme}://{login}{shown}:{given.get('port', 6379)}/{given.get('db', 0)}"
