"""`cache` and `cache_params` in `litellm_settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyrerank._core.routing.redis_settings import CLUSTER, redis_url_of
from anyrerank._core.runtime import REFERENCE, environment_variable, resolved, resolved_settings
from anyrerank.cache import Cache, MemoryCache, RedisCache
from anyrerank.errors import ConfigurationError

_NUMBERS = frozenset({"default_in_redis_ttl", "ttl"})
_OF_REDIS = ("url", "host", "port", "username", "password", "db", "ssl", CLUSTER)
_VARIABLES = (
    {"url": "REDIS_URL"},
    {name: f"REDIS_{name.upper()}" for name in ("host", "port", "username", "password", "ssl")},
)
"""Where LiteLLM looks for Redis if the file does not say where it is."""
_SECTION = "litellm_settings: cache_params"


def cache_of(section: Mapping[str, Any], where: str) -> Cache | None:
    """The cache that `cache` and `cache_params` describe, unless they keep rerankings out; `None` if there is none.

    Args:
        section: `litellm_settings`.
        where: The file, for errors.

    Raises:
        ConfigurationError: A wrong value, a variable that is not set, or a cache that is not supported.
    """
    params = _params(section)
    if resolved(section.get("cache"), where) is not True:
        return None
    kind = resolved(params.get("type"), where) or "local"
    if kind not in _MADE:
        raise ConfigurationError(
            f"{_SECTION}: a cache of type {str(kind)[:40]} is not supported; write type: redis, type: local for one in "
            "memory, or cache: false"
        )
    return _MADE[kind](params, where)


def off_for_reranking(section: Mapping[str, Any], where: str) -> str | None:
    """Which of the `cache_params` keeps rerankings out of a cache that is on, or `None`.

    Args:
        section: `litellm_settings`.
        where: The file, for errors.

    Raises:
        ConfigurationError: A wrong value, or a variable that is not set.
    """
    if resolved(section.get("cache"), where) is not True:
        return None
    params = _params(section)
    found = resolved_settings({name: params.get(name) for name in ("mode", "supported_call_types")}, where, numbers=())
    if found["mode"] == "default_off":
        return "mode: default_off"
    calls = found["supported_call_types"]
    return "supported_call_types without rerank" if calls is not None and not _has_rerank(calls) else None


def _params(section: Mapping[str, Any]) -> Mapping[str, Any]:
    params = section.get("cache_params") or {}
    if not isinstance(params, Mapping):
        raise ConfigurationError(f"{_SECTION} must be a mapping")
    return params


def _local(params: Mapping[str, Any], where: str) -> Cache:
    return MemoryCache(**_resolved(params, where, {"ttl": "ttl"}))


def _redis(params: Mapping[str, Any], where: str) -> Cache:
    arguments = _resolved(params, where, {"default_in_redis_ttl": "ttl", "ttl": "ttl", "namespace": "prefix"})
    given = {name: params[name] for name in _OF_REDIS if params.get(name) is not None}
    url = redis_url_of(resolved_settings(given, where, numbers=()), _SECTION, prefix="")
    if url is None:
        return RedisCache(_in_environment(), **arguments)
    return RedisCache(given.get("url", url), **arguments)  # a reference stays one, so that pickles hold no password


def _in_environment() -> str:
    """Where the variables of LiteLLM say that Redis is.

    Raises:
        ConfigurationError: None of them is set.
    """
    for names in _VARIABLES:
        found = {ours: value for ours, name in names.items() if (value := environment_variable(name)) is not None}
        if (url := redis_url_of(found, "environment", prefix="")) is not None:
            return REFERENCE + _VARIABLES[0]["url"] if "url" in found else url
    raise ConfigurationError(f"{_SECTION}: type: redis needs a host or a url, or the variable REDIS_URL or REDIS_HOST")


def _resolved(params: Mapping[str, Any], where: str, names: Mapping[str, str]) -> dict[str, Any]:
    given = {name: params[name] for name in names if params.get(name) is not None}
    return {names[name]: value for name, value in resolved_settings(given, where, numbers=_NUMBERS).items()}


def _has_rerank(calls: object) -> bool:
    return isinstance(calls, list) and bool({"rerank", "arerank"} & set(map(str, calls)))


_MADE = {"local": _local, "redis": _redis}
