"""A configuration file of LiteLLM's, read as the arguments of a router."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank import providers
from anyrerank.entries import Located, resolved
from anyrerank.errors import ConfigurationError
from anyrerank.extras import needed

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
_LITELLM = {
    "default_fallbacks": "default_fallbacks",
    "drop_params": "drop_params",
    "fallbacks": "fallbacks",
    "num_retries": "num_retries",
    "request_timeout": "timeout",
}
"""What `litellm_settings` says of a router, and its name here; `router_settings` wins."""

_OF_NAMES = frozenset({"default_fallbacks", "fallbacks", "model_group_alias"})
"""What speaks of models by their names, of which some are left out."""

_WITHOUT_MEANING = frozenset({"content_policy_fallbacks", "context_window_fallbacks"})
"""What `litellm_settings` says of fallbacks that a reranker has no use for."""


def router_arguments(path: str | PathLike[str]) -> dict[str, Any]:
    """Arguments of `anyrerank.Router`; see `Router.from_config`.

    Raises:
        ConfigurationError: The file cannot be read, is not YAML, or names a variable that is not set.
    """
    file = Path(path)
    document, lines = _parsed(file)
    models = document.get("model_list")
    if not isinstance(models, list) or not models:
        raise ConfigurationError(f"{file}: there is no model_list")
    places = [f"{file}, line {line}" for line in lines]
    models = [each if isinstance(each, Mapping) else {} for each in models]
    listed = [(each, where) for each, where in zip(models, places, strict=True) if _is_for_reranking(each)]
    if unlisted := [each for each in models if not _is_for_reranking(each)]:
        _log.warning("%s: %d models that are not for reranking are left out", file, len(unlisted))
    if not listed:
        raise ConfigurationError(f"{file}: no model of its model_list is for reranking (model_info: mode: rerank)")
    general, router = _settings(document, "litellm_settings", file), _settings(document, "router_settings", file)
    if unused := sorted((router.keys() - _ROUTER) | (general.keys() & _WITHOUT_MEANING)):
        _log.warning("%s: %s in its settings means nothing here", file, ", ".join(unused))
    given = {
        **{name: general[theirs] for theirs, name in _LITELLM.items() if theirs in general},
        **{name: value for name, value in router.items() if name in _ROUTER},
    }
    absent = {str(each.get("model_name")) for each in unlisted} - {str(each.get("model_name")) for each, _ in listed}
    settings = {name: resolved(value, f"{file}, {name}") for name, value in given.items() if value is not None}
    return {
        "model_list": [Located(each, where) for each, where in listed],
        **{name: _without(absent, value) if name in _OF_NAMES else value for name, value in settings.items()},
    }


def _parsed(file: Path) -> tuple[Mapping[str, Any], list[int]]:
    """What the file holds, and the lines on which the entries of its `model_list` begin."""
    yaml = needed("yaml", "config", called="PyYAML")
    try:
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        document = None if root is None else loader.construct_document(root)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {type(error).__name__}") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise ConfigurationError(f"{file}{where}: this is not YAML") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{file} is no mapping with a model_list")
    entries = [value.value for key, value in root.value if key.value == "model_list"]
    return document, [node.start_mark.line + 1 for node in (entries or [[]])[-1] if hasattr(node, "start_mark")]


def _without(absent: Set[str], value: Any) -> Any:
    """Lists and mappings of names, without those that are `absent`."""

    def is_absent(each: Any) -> bool:
        return isinstance(each, str) and each in absent

    if isinstance(value, list):
        return [_without(absent, each) for each in value if not is_absent(each)]
    if isinstance(value, Mapping):
        kept = {name: each for name, each in value.items() if not (is_absent(name) or is_absent(each))}
        return {name: _without(absent, each) for name, each in kept.items()}
    return value


def _settings(document: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    found = document.get(name) or {}
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"{file}: {name} is not a mapping")
    return found


def _is_for_reranking(entry: Mapping[str, Any]) -> bool:
    """Whether an entry may be for reranking: it says so, or it says nothing and its provider is one of ours."""
    if not isinstance(params := entry.get("litellm_params"), Mapping):
        return True
    info = entry.get("model_info")
    if isinstance(info, Mapping) and info.get("mode") is not None:
        return bool(info["mode"] == "rerank")
    prefix, slash, _ = str(params.get("model", "")).partition("/")
    return bool(params.get("custom_llm_provider")) or (bool(slash) and prefix in providers.names())
