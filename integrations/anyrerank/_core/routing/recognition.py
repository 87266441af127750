"""Which entries of a `model_list` are rerankers; a file of LiteLLM's has chat models and embeddings as well."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from anyrerank import providers
from anyrerank._core.engine import split_model
from anyrerank._core.pricing import list_prices
from anyrerank._core.routing.entries import Located, full_name, given_names, parameters
from anyrerank._core.routing.spelling import refuse_misspelt
from anyrerank._core.routing.wildcards import located_entry
from anyrerank._core.runtime import environment_variable as variable_of
from anyrerank._core.runtime import first_unset, resolved
from anyrerank.errors import ConfigurationError
from anyrerank.providers import Provider

_log = logging.getLogger("anyrerank")

_RERANKER = re.compile(r"rank|cross-?encoder|ms-marco|colbert", re.IGNORECASE)
_OTHER = re.compile(
    r"anthropic|claude|gemini|gemma|gpt|command|embed|llama|mi[sx]tral|ministral|codestral|titan|deepseek|qwen|qwq|granite"
    r"|zephyr|falcon|bloom|starcoder|codebert|whisper|dall-e|diffusion|transcribe|speech|chat|instruct|nemotron|minimax"
    r"|image|vision|video|upscale|stability|stable-|playground|ocr|asr\b|pars(?:e|er)\b|guard|safety|moderat|thinking|reason"
    r"|coder?\b|codex|hermes|jamba|ernie|mercury|wizardlm|mythomax|internvl|firefunction|capybara|pegasus|marengo|hunyuan"
    r"|search_api|doc-intelligence|microsoft-decision|model[-_]router|routers/|fireworks-ai-|uae-large"
    r"|flan|together-ai-|chirp_|\bo[134]\b|:free\b|\d(?:\.\d+)?b\b"  # a size is that of a language model
    r"|voyage-(?:\d|code|context|finance|large|law|lite|multilingual|multimodal)"
    r"|\b(?:bge|e5|gte)-|\b(?:nova|phi|aya|veo|flux|sora|tts|stt|opt|kimi|glm|grok|yi|j2|mai|muse|sonar|seed|ling)\b"
    r"|\b(?:flash|turbo|mini|preview|omni|chirp|lyria|euryale|inkling|lunaris|nous|clef|jev|sd\d|ssd|hy\d|step|fw|mimo|solar|lfm|virtual-try-on)\b",
    re.IGNORECASE,
)
"""Words in the names of models that do something else, unless `_RERANKER` is in the name as well."""
_RANKS_TOO = frozenset({"scaleway/qwen3-embedding-8b"})
"""Embeddings that their provider serves for reranking."""
_CLOSE = 0.8
"""How similar a misspelt name is to the right one."""
_ENVIRONMENT = "LITELLM_ENVIRONMENT"
_SAYS_SO = "a reranker that is not recognised needs model_info: mode: rerank"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An entry of a `model_list` that is not served.

    Attributes:
        name: Its `model_name`.
        where: Its line in the file, or its place in the list.
        reason: Why.
        variable: The environment variable that is not set, if that is why.
    """

    name: str
    where: str
    reason: str
    variable: str | None = None

    def __str__(self) -> str:
        return f"{self.where} ({self.name}): {self.reason}"


def select_rerankers(model_list: Sequence[Any]) -> tuple[list[Located], tuple[LeftOut, ...]]:
    """The rerankers of a `model_list`, and what is left out of it. A malformed entry stays, to be refused later.

    Raises:
        ConfigurationError: The provider of a reranker, or `litellm_params`, is misspelt.
    """
    found: list[Located] = []
    left_out: list[LeftOut] = []
    for number, each in enumerate(model_list):
        given = located_entry(each, number)
        reason = _left_out(given)
        if reason is None:
            found.append(given)
        else:
            left_out.append(reason)
    return found, tuple(left_out)


def rerankers_of(model_list: Any, names: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The rerankers of a `model_list`, and `names` without those for which none is left. Logs what is left out.

    Args:
        model_list: As passed by the caller.
        names: Settings that contain names of models.

    Raises:
        ConfigurationError: None of its entries is a reranker, or the provider of one is misspelt.
    """
    if not isinstance(model_list, list | tuple) or not model_list:
        return model_list, dict(names)  # refused later
    found, left_out = select_rerankers(model_list)
    if not found:
        raise none_found(left_out)
    if left_out:
        _log.warning("%s", warning_of(left_out))
    absent = absent_names(found, left_out)
    return found, {name: without(absent, value) for name, value in names.items()}


def warning_of(left_out: Sequence[LeftOut]) -> str:
    """The warning about what is left out."""
    return f"left out of model_list: {'; '.join(map(str, left_out))} ({_SAYS_SO})"


def none_found(left_out: Sequence[LeftOut]) -> ConfigurationError:
    """The error for a `model_list` without any reranker."""
    for each in left_out:  # may be all that is wrong
        if each.variable is not None:
            return ConfigurationError(
                f"{each.where} ({each.name}): the environment variable {each.variable} is not set, or is empty"
            )
    return ConfigurationError(
        f"no entry of model_list is for reranking ({_SAYS_SO}): {'; '.join(map(str, left_out))[:500]}"
    )


def absent_names(found: Iterable[Located], left_out: Iterable[LeftOut]) -> frozenset[str]:
    """The names for which nothing is left; `*` means every name where fallbacks are concerned."""
    return frozenset(each.name for each in left_out) - {"*", *(str(each.get("model_name")) for each in found)}


def without(absent: Set[str], value: Any) -> Any:
    """Lists and mappings of names, without those that are `absent`."""

    def is_absent(each: Any) -> bool:
        return isinstance(each, str) and each in absent

    if isinstance(value, list | tuple):
        return [without(absent, each) for each in value if not is_absent(each)]
    if isinstance(value, Mapping):
        present = {name: each for name, each in value.items() if not (is_absent(name) or is_absent(each))}
        return {name: without(absent, each) for name, each in present.items()}
    return value


def _left_out(given: Located) -> LeftOut | None:
    """Why an entry is left out, or `None`."""
    params, info = given.get("litellm_params"), given.get("model_info")
    name, where = str(given.get("model_name")), given.where
    mode = info.get("mode") if isinstance(info, Mapping) else None
    if not isinstance(params, Mapping):
        refuse_misspelt(f"{where} ({name})", given, ("litellm_params",))
        is_bare = params is None and given.get("model_name") and mode is None
        return LeftOut(name, where, "it has no litellm_params") if is_bare else None
    if isinstance(info, Mapping) and (reason := _not_offered(info)) is not None:
        return LeftOut(name, where, reason)
    variable = first_unset(params.get("model"))
    if variable is None and mode is None:
        if "*" in str(params.get("model")) and "*" not in name:
            return LeftOut(name, where, "its model is a wildcard, but its name is not")
        try:
            reason = _other_than_reranker(params, resolved(params.get("model"), where))
        except ConfigurationError as error:
            raise ConfigurationError(f"{where} ({name}): {error.message}") from None
        if reason is not None:
            return LeftOut(name, where, reason)
    variable = variable or first_unset([params, info])
    return (
        None if variable is None else LeftOut(name, where, f"the variable {variable} is not set, or is empty", variable)
    )


def _not_offered(info: Mapping[str, Any]) -> str | None:
    """Why the `model_info` of an entry says that it is not served, or `None`."""
    mode, environments = info.get("mode"), info.get("supported_environments")
    if info.get("blocked") is True:
        return "it is blocked"
    if environments and variable_of(_ENVIRONMENT) not in environments:
        return f"it is not for the environment in {_ENVIRONMENT}"
    return None if mode in (None, "rerank") else f"its mode is {str(mode)[:40]}"


def _other_than_reranker(params: Mapping[str, Any], model: object) -> str | None:
    """Why an entry that says nothing about its mode is not a reranker, or `None`.

    Raises:
        ConfigurationError: It is one, and its provider is misspelt.
    """
    given = params.get("custom_llm_provider")
    is_class = not isinstance(given, str | None)
    if is_class or not isinstance(model, str) or model in ("", "*"):  # malformed, or the caller says which
        return None
    try:
        prefix, name = split_model(full_name(model), given)
    except ConfigurationError:
        return "its model names no provider"
    if prefix not in providers.names():
        near = difflib.get_close_matches(prefix, providers.names(), 1, _CLOSE)
        looks_right = bool(_RERANKER.search(name))
        if near and looks_right:
            raise ConfigurationError(f"there is no provider {prefix[:40]}; did you mean {near[0]}?")
        if looks_right and (meant := providers.also_called(prefix)):
            near = [meant]
        return f"there is no reranker of {prefix[:40]}{f' (did you mean {near[0]}?)' if near else ''}"
    return _other_model(params, prefix, name)


def _other_model(params: Mapping[str, Any], prefix: str, name: str) -> str | None:
    """Why a model of a provider that has rerankers is none of them, or `None`."""
    try:
        kind = providers.load(prefix)
    except ConfigurationError:  # an entry point that is broken, which is refused later
        return None
    if _is_named_as_reranker(kind, name):
        return None
    if _OTHER.search(name):
        return "its name is not that of a reranker"
    known = parameters(kind)
    foreign = [
        each
        for each in given_names(params)
        if each not in known and not difflib.get_close_matches(each, known, 1, _CLOSE)
    ]
    return f"no reranker has {', '.join(sorted(foreign))}" if foreign else None


def _is_named_as_reranker(kind: type[Provider], name: str) -> bool:
    full = f"{kind.prefix}/{name}"
    return kind.free or bool(_RERANKER.search(name)) or full in list_prices() or full in _RANKS_TOO
