"""A configuration file of LiteLLM's, read as the arguments of a router."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank import providers
from anyrerank._core.routing.entries import Located
from anyrerank._core.routing.references import resolved, resolved_settings
from anyrerank._core.routing.yaml_file import read_yaml
from anyrerank._core.runtime import checked_path
from anyrerank.errors import ConfigurationError

_log = logging.getLogger("anyrerank")

_ROUTER = frozenset(
    {
        "allowed_fails",
        "cooldown_time",
        "default_fallbacks",
        "fallbacks",
        "max_fallbacks",
        "model_group_alias",
        "num_retries",
        "retry_after",
        "routing_strategy",
        "routing_strategy_args",
        "timeout",
    }
)
"""The `router_settings` that are used."""
_LITELLM = {
    "default_fallbacks": "default_fallbacks",
    "drop_params": "drop_params",
    "fallbacks": "fallbacks",
    "num_retries": "num_retries",
    "request_timeout": "timeout",
}
"""The `litellm_settings` that are used, and their names here; `router_settings` win."""
_IGNORED = frozenset({"content_policy_fallbacks", "context_window_fallbacks"})
"""Fallbacks in `litellm_settings` that have no meaning for a reranker."""
_OF_NAMES = frozenset({"default_fallbacks", "fallbacks", "model_group_alias"})
"""Settings that contain names of models."""
_NUMBERS = frozenset({"allowed_fails", "cooldown_time", "max_fallbacks", "num_retries", "retry_after", "timeout"})


def router_arguments(path: str | PathLike[str]) -> dict[str, Any]:
    """Arguments of `anyrerank.Router`; see `Router.from_config`.

    Raises:
        ConfigurationError: `path` is not a path, or the file cannot be read, is not valid, has no model for reranking,
            or names a variable that is not set.
    """
    file = Path(checked_path(path, "path"))
    document = read_yaml(file)
    models = document.get("model_list") if isinstance(document, Mapping) else None
    if not isinstance(models, list) or not models:
        raise ConfigurationError(f"{file} must be a mapping with a model_list of at least one entry")
    found: list[Any] = []
    left_out: list[Any] = []
    for each in models:
        (found if _is_for_reranking(each) else left_out).append(each)
    _report(left_out, file, none_found=not found)
    absent = _names(left_out) - _names(found)
    return {
        "model_list": found,
        **{
            name: _without(absent, value) if name in _OF_NAMES else value
            for name, value in _settings(document, file).items()
        },
    }


def _report(left_out: Sequence[Located], file: Path, *, none_found: bool) -> None:
    """Log which entries are left out, or raise if that is all of them."""
    if left_out:
        named = ", ".join(f"{each.where.removeprefix(f'{file}, ')} ({each.get('model_name')})" for each in left_out)
        _log.warning("%s: models that are not for reranking are left out: %s", file, named)
    if none_found:
        for each in left_out:  # a variable that is not set may be all that is wrong
            resolved(each["litellm_params"].get("model"), each.where)
        raise ConfigurationError(f"{file}: no entry of model_list is for reranking (model_info: mode: rerank)")


def _names(models: Sequence[Any]) -> set[str]:
    return {str(each.get("model_name")) for each in models if isinstance(each, Located)}


def _is_for_reranking(entry: object) -> bool:
    """Whether an entry is for reranking: by its `mode`, or if it has none, because anyrerank has its provider."""
    if not isinstance(entry, Located) or not isinstance(params := entry.get("litellm_params"), Mapping):
        return True  # refused later, with an error
    info = entry.get("model_info")
    if isinstance(info, Mapping) and info.get("mode") is not None:
        return bool(info["mode"] == "rerank")
    if params.get("custom_llm_provider"):
        return True
    try:
        model = str(resolved(params.get("model", ""), entry.where))
    except ConfigurationError:  # the variable of what may be a chat model is not set
        return False
    prefix, slash, _ = model.partition("/")
    return bool(slash) and prefix in providers.names()


def _settings(document: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The settings of the router in a file."""
    litellm, router = _section(document, "litellm_settings", file), _section(document, "router_settings", file)
    if ignored := sorted((router.keys() - _ROUTER) | (litellm.keys() & _IGNORED)):
        _log.warning("%s: ignored settings: %s", file, ", ".join(ignored))
    given = {
        **{name: litellm[theirs] for theirs, name in _LITELLM.items() if theirs in litellm},
        **{name: value for name, value in router.items() if name in _ROUTER},
    }
    set_ = {name: value for name, value in given.items() if value is not None}
    return resolved_settings(set_, str(file), numbers=_NUMBERS)


def _section(document: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    found = document.get(name) or {}
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"{file}: {name} must be a mapping")
    return found


def _without(absent: Set[str], value: Any) -> Any:
    """Lists and mappings of names, without those that are `absent`."""

    def is_absent(each: Any) -> bool:
        return isinstance(each, str) and each in absent

    if isinstance(value, list):
        return [_without(absent, each) for each in value if not is_absent(each)]
    if isinstance(value, Mapping):
        present = {name: each for name, each in value.items() if not (is_absent(name) or is_absent(each))}
        return {name: _without(absent, each) for name, each in present.items()}
    return value
