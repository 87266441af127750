"""Where LiteLLM's settings say that Redis is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from anyrerank.errors import ConfigurationError

REDIS = ("redis_url", "redis_host", "redis_port", "redis_password", "redis_db")
"""Names in `router_settings`."""
CLUSTER = "redis_startup_nodes"


def redis_url_of(settings: Mapping[str, Any], section: str) -> str | None:
    """The URL that `redis_url`, or `redis_host` and its companions, describe; `None` if there are none.

    Args:
        settings: Without references to variables.
        section: Their name in the file.

    Raises:
        ConfigurationError: They contradict each other, or describe a cluster.
    """
    given = {name: settings[name] for name in (*REDIS, CLUSTER) if settings.get(name) is not None}
    if CLUSTER in given:
        raise ConfigurationError(
            f"{section}: {CLUSTER}: Redis Cluster is not supported; use one server, or its primary"
        )
    if not given:
        return None
    if "redis_url" in given:
        if len(given) > 1:
            raise ConfigurationError(f"{section}: set either redis_url or redis_host, not both")
        return str(given["redis_url"])
    if "redis_host" not in given:
        raise ConfigurationError(f"{section}: {min(given)} needs a redis_host")
    password = f":{quote(str(given['redis_password']), safe='')}@" if "redis_password" in given else ""
    host = str(given["redis_host"])
    shown = f"[{host}]" if ":" in host else host
    return f"redis://{password}{shown}:{given.get('redis_port', 6379)}/{given.get('redis_db', 0)}"
