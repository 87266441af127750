"""A configuration file of LiteLLM's, read as the arguments of a router."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank import providers
from anyrerank._core.routing.entries import Located, resolved, with_numbers
from anyrerank._core.runtime import needed
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

_OF_NAMES = frozenset({"default_fallbacks", "fallbacks", "model_group_alias"})
"""What speaks of models by their names, of which some are left out."""

_NUMBERS = frozenset({"allowed_fails", "cooldown_time", "max_fallbacks", "num_retries", "retry_after", "timeout"})
_MERGE = "tag:yaml.org,2002:merge"
_DEPTH = 100
_NODES = 200_000
"""What a file may hold, with every alias counted for what it stands for: no real one comes near."""

_WITHOUT_MEANING = frozenset({"content_policy_fallbacks", "context_window_fallbacks"})
"""What `litellm_settings` says of fallbacks that a reranker has no use for."""


def router_arguments(path: str | PathLike[str]) -> dict[str, Any]:
    """Arguments of `anyrerank.Router`; see `Router.from_config`.

    Raises:
        ConfigurationError: `path` is no path; or the file cannot be read, is not YAML, says something twice, or names a
            variable that is not set.
    """
    try:
        file = Path(path)
    except TypeError:
        raise ConfigurationError(f"the path of a configuration file is a string, not {type(path).__name__}") from None
    document, lines = _parsed(file)
    models = document.get("model_list")
    if not isinstance(models, list) or not models:
        raise ConfigurationError(f"{file}: there is no model_list")
    listed: list[Located] = []
    unlisted: list[Located] = []
    for each, line in zip(models, lines, strict=True):
        entry = Located(each if isinstance(each, Mapping) else {}, f"{file}, line {line}")
        (listed if _is_for_reranking(entry) else unlisted).append(entry)
    if unlisted:
        named = ", ".join(f"{each.where.removeprefix(f'{file}, ')} ({each.get('model_name')})" for each in unlisted)
        _log.warning("%s: models that are not for reranking are left out: %s", file, named)
    if not listed:
        for each in unlisted:  # a variable that is not set may be all that is wrong
            resolved(each["litellm_params"].get("model"), each.where)
        raise ConfigurationError(f"{file}: no model of its model_list is for reranking (model_info: mode: rerank)")
    general, router = _settings(document, "litellm_settings", file), _settings(document, "router_settings", file)
    if unused := sorted((router.keys() - _ROUTER) | (general.keys() & _WITHOUT_MEANING)):
        _log.warning("%s: %s in its settings means nothing here", file, ", ".join(unused))
    given = {
        **{name: general[theirs] for theirs, name in _LITELLM.items() if theirs in general},
        **{name: value for name, value in router.items() if name in _ROUTER},
    }
    absent = {str(each.get("model_name")) for each in unlisted} - {str(each.get("model_name")) for each in listed}
    found = {name: resolved(value, f"{file}, {name}") for name, value in given.items() if value is not None}
    settings = with_numbers(given, found, _NUMBERS)
    return {
        "model_list": listed,
        **{name: _without(absent, value) if name in _OF_NAMES else value for name, value in settings.items()},
    }


def _parsed(file: Path) -> tuple[Mapping[str, Any], list[int]]:
    """What the file holds, and the lines on which the entries of its `model_list` begin."""
    yaml = needed("yaml", "config", called="PyYAML")
    text = _text(file)
    try:
        loader = yaml.SafeLoader(text)
        root = _only_document(loader, file)
        _check(root, loader, file)
        document = None if root is None else loader.construct_document(root)
    except RecursionError:
        raise _too_deep(file) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(f"{file}, line {line}: this is not YAML") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise ConfigurationError(f"{file}{where}: this is not YAML") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{file} is no mapping with a model_list")
    entries = [value.value for key, value in root.value if key.value == "model_list"]
    return document, [node.start_mark.line + 1 for node in (entries or [[]])[-1] if hasattr(node, "start_mark")]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {type(error).__name__}") from None


def _only_document(loader: Any, file: Path) -> Any:
    root = loader.get_node() if loader.check_node() else None
    if loader.check_node():
        line = loader.peek_event().start_mark.line + 1
        raise ConfigurationError(f"{file}, line {line}: a second YAML document begins, and there can be only one")
    return root


def _check(root: Any, loader: Any, file: Path) -> None:
    """Refuse what PyYAML would take without a word, or fail on without saying where."""
    for count, (node, depth) in enumerate(_nodes(root)):
        if depth > _DEPTH:
            raise _too_deep(file)
        if count > _NODES:
            raise ConfigurationError(f"{file}: its aliases stand for more than a file can hold")
        if node.id == "mapping":
            _check_names([key for key, _ in node.value], file)
        elif node.id == "scalar" and node.tag != _MERGE:
            try:
                loader.construct_object(node)
            except ValueError:
                line = node.start_mark.line + 1
                raise ConfigurationError(f"{file}, line {line}: there is no such date or number") from None


def _check_names(keys: Sequence[Any], file: Path) -> None:
    known = set()
    for key in keys:
        if key.id != "scalar" or key.tag == _MERGE:
            continue
        if (key.tag, key.value) in known:
            raise ConfigurationError(f"{file}, line {key.start_mark.line + 1}: {key.value} is here for the second time")
        known.add((key.tag, key.value))


def _nodes(root: Any) -> Iterator[tuple[Any, int]]:
    """Every node with its depth, as often as an alias leads to it: for ever where anchors go in a circle."""
    rest = [] if root is None else [(root, 0)]
    while rest:
        node, depth = rest.pop()
        yield node, depth
        if node.id != "scalar":
            inside = node.value if node.id == "sequence" else [each for pair in node.value for each in pair]
            rest.extend((each, depth + 1) for each in inside)


def _too_deep(file: Path) -> ConfigurationError:
    return ConfigurationError(f"{file} is nested too deeply, or its anchors go in a circle")


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


def _is_for_reranking(entry: Located) -> bool:
    """Whether an entry may be for reranking: it says so, or it says nothing and its provider is one of ours."""
    if not isinstance(params := entry.get("litellm_params"), Mapping):
        return True
    info = entry.get("model_info")
    if isinstance(info, Mapping) and info.get("mode") is not None:
        return bool(info["mode"] == "rerank")
    if params.get("custom_llm_provider"):
        return True
    try:
        model = str(resolved(params.get("model", ""), entry.where))
    except ConfigurationError:  # of a variable that is not set, for what may be a chat model
        return False
    prefix, slash, _ = model.partition("/")
    return bool(slash) and prefix in providers.names()
