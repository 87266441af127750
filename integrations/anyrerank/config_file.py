"""A configuration file of LiteLLM's, read as the arguments of a router."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank import providers
from anyrerank.config import variable
from anyrerank.entries import Located
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
_LITELLM = {
    "default_fallbacks": "default_fallbacks",
    "drop_params": "drop_params",
    "fallbacks": "fallbacks",
    "num_retries": "num_retries",
    "request_timeout": "timeout",
}
"""What `litellm_settings` says of a router, and its name here; `router_settings` wins."""

_REFERENCE = "os.environ/"


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
    listed = [(each, where) for each, where in zip(models, places, strict=True) if _is_for_reranking(each)]
    if left_out := len(models) - len(listed):
        _log.warning("%s: %d models that are not for reranking are left out", file, left_out)
    if not listed:
        raise ConfigurationError(f"{file}: no model of its model_list is for reranking (model_info: mode: rerank)")
    general, router = _settings(document, "litellm_settings", file), _settings(document, "router_settings", file)
    if unused := sorted(router.keys() - _ROUTER):
        _log.warning("%s: %s in router_settings means nothing here", file, ", ".join(unused))
    given = {
        **{name: general[theirs] for theirs, name in _LITELLM.items() if theirs in general},
        **{name: value for name, value in router.items() if name in _ROUTER},
    }
    return {
        "model_list": [Located(_resolved(each, where), where) for each, where in listed],
        **{name: _resolved(value, f"{file}, {name}") for name, value in given.items() if value is not None},
    }


def _parsed(file: Path) -> tuple[Mapping[str, Any], list[int]]:
    """What the file holds, and the lines on which the entries of its `model_list` begin."""
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise ConfigurationError(f"PyYAML cannot be imported ({error}): pip install 'anyrerank[config]'") from error
    try:
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        document = None if root is None else loader.construct_document(root)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {type(error).__name__}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise ConfigurationError(f"{file}{where}: this is not YAML") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{file} is no mapping with a model_list")
    entries: list[Any] = next((value.value for key, value in root.value if key.value == "model_list"), [])
    return document, [node.start_mark.line + 1 for node in entries if hasattr(node, "start_mark")]


def _settings(document: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    found = document.get(name) or {}
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"{file}: {name} is not a mapping")
    return found


def _is_for_reranking(entry: object) -> bool:
    """Whether an entry may be for reranking: it says so, or it says nothing and its provider is one of ours."""
    if not isinstance(entry, Mapping) or not isinstance(params := entry.get("litellm_params"), Mapping):
        return True
    mode = (entry.get("model_info") or {}).get("mode")
    if mode is not None:
        return bool(mode == "rerank")
    prefix, slash, _ = str(params.get("model", "")).partition("/")
    return bool(params.get("custom_llm_provider")) or (bool(slash) and prefix in providers.names())


def _resolved(value: Any, where: str) -> Any:
    """`value` with what the environment holds in place of `os.environ/NAME`."""
    if isinstance(value, Mapping):
        return {name: _resolved(each, where) for name, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, where) for each in value]
    if not isinstance(value, str) or not value.startswith(_REFERENCE):
        return value
    name = value.removeprefix(_REFERENCE)
    found = variable(name)
    if found is None:
        raise ConfigurationError(f"{where}: the environment variable {name} is not set")
    return found
