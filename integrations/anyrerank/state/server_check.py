"""Checking that a Redis server can store the shared state."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

from anyrerank._core.redis import RedisLink, RedisUnavailableError
from anyrerank.errors import ConfigurationError, StateUnavailableError

_log = logging.getLogger("anyrerank")

_OLDEST = (7, 0)
_KEEPS_ALL = "noeviction"
_RIGHTS = """
redis.call('SCAN', '0', 'COUNT', 1)
redis.call('UNLINK', KEYS[1])
return redis.call('PUBLISH', ARGV[1], '{}')
"""
"""Does what a user may lack the permission for, who may write keys."""


def check(link: RedisLink, probe: str) -> None:
    """Raise if a server cannot hold what processes share, and warn if it loses it. It may block for a few seconds.

    Args:
        link: To the server.
        probe: A key that is written, and a channel without other listeners: they would take this for a process.

    Raises:
        StateUnavailableError: It cannot be reached, or refuses the password.
        ConfigurationError: It cannot be written, such as when it is full; its user may not do all that is needed; it
            evicts keys, is a cluster or is too old.
    """
    try:
        found = link.call_slowly(("INFO",))
    except RedisUnavailableError as error:
        raise StateUnavailableError(f"{error}; check the URL, and that the server runs") from None
    facts = facts_of(found)
    where = f"Redis at {link.shown}"
    if facts.get("role") == "slave" and facts.get("slave_read_only", "1") == "1":
        raise ConfigurationError(f"{where} is a read-only replica: use the URL of its primary")
    if facts.get("cluster_enabled") == "1":
        raise ConfigurationError(f"{where} is a Redis Cluster, which is not supported: use one server")
    policy = facts.get("maxmemory_policy", _KEEPS_ALL)
    if facts.get("maxmemory", "0") != "0" and policy != _KEEPS_ALL:
        raise ConfigurationError(
            f"{where} has the maxmemory-policy {policy}, so that it would forget what was spent: set it to "
            f"{_KEEPS_ALL}, or use another server"
        )
    if _version(facts.get("redis_version", "7.0")) < _OLDEST:
        raise ConfigurationError(f"{where} has version {facts['redis_version']}: 7.0 or later is needed")
    if facts.get("aof_enabled") == "0":
        _log.warning("%s has appendonly no: what only it knows is lost if it restarts; set appendonly yes", where)
    try:
        link.call_slowly(("SET", probe, "", "PX", 1))
    except RedisUnavailableError as error:
        raise ConfigurationError(
            f"{error}: it must be writable; if its memory is full, raise its maxmemory or remove other data from it"
        ) from None
    try:
        link.call_slowly(("EVAL", _RIGHTS, 1, probe, probe))
        with closing(link.subscriber(probe)) as listening:
            listening.listeners()
    except link.failures as error:
        raise ConfigurationError(
            f"{link.reason(error)}: its user must be allowed all commands, and the keys and channels that begin with "
            "the prefix"
        ) from None


def facts_of(found: Any) -> dict[str, str]:
    """The reply to INFO as a mapping; a client may have parsed it already."""
    if isinstance(found, dict):
        return {str(name): str(value) for name, value in found.items()}
    lines = bytes(found).decode("utf-8", "replace").splitlines()
    return {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
