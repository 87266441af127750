"""A configuration file of LiteLLM's, read once, for a router or for a service."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank._core.routing.absent_names import present_fallbacks
from anyrerank._core.routing.document import read_document, section
from anyrerank._core.routing.entries import Located
from anyrerank._core.routing.litellm_arguments import USED, refuse, refuse_misspelt_in_file
from anyrerank._core.routing.litellm_guardrails import NamedGuardrail, guardrails_of
from anyrerank._core.routing.litellm_settings import read_settings
from anyrerank._core.routing.recognition import LeftOut, absent_names, select_rerankers, without
from anyrerank._core.routing.redis_settings import CLUSTER, REDIS, redis_url_of
from anyrerank._core.routing.spelling import refuse_misspelt
from anyrerank._core.runtime import checked_path, first_unset, resolved, resolved_settings
from anyrerank.errors import ConfigurationError, MissingExtraError, RerankError

_OF_NAMES = ("default_fallbacks", "fallbacks", "model_group_alias")
"""Settings that contain names of models."""
_NUMBERS = frozenset({"allowed_fails", "cooldown_time", "max_fallbacks", "num_retries", "retry_after", "timeout"})
_SECTIONS = frozenset(
    {"anyrerank_settings", "general_settings", "guardrails", "litellm_settings", "model_list", "router_settings"}
)


@dataclass(frozen=True, slots=True)
class Unset:
    """A setting that refers to a variable which is not set.

    Attributes:
        setting: Its name, such as `general_settings.master_key`.
        variable: The variable.
        where: The file and the line, if they are known.
    """

    setting: str
    variable: str
    where: str | None

    def error(self) -> ConfigurationError:
        """The error for a setting that cannot be ignored."""
        place = self.setting if self.where is None else f"{self.where}, {self.setting}"
        return ConfigurationError(
            f"{place}: the environment variable {self.variable} is not set, or is empty; remove the line if it is not "
            "needed"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """What a configuration file says; references to variables are resolved.

    Attributes:
        file: The file.
        router: Arguments of `anyrerank.Router`; its `model_list` holds the rerankers, and may be empty.
        general: `general_settings`.
        own: `anyrerank_settings`.
        litellm: `litellm_settings`, including those that `router` honours.
        left_out: The entries of `model_list` that are not served.
        spares: The names to ask in the place of one that has no deployment left.
        names: All names in `model_list`, in its order.
        ignored: Settings that have no effect on a router, such as `litellm_settings.callbacks`.
        unset: Settings that refer to a variable which is not set, by their names, such as
            `general_settings.master_key`; they are missing in `general`, `own` and `litellm`.
        redis_url: Where `router_settings` say that Redis is.
        guardrails: All guardrails; `router` has those that are on by default.
    """

    file: Path
    router: dict[str, Any]
    general: Mapping[str, Any]
    own: Mapping[str, Any]
    litellm: Mapping[str, Any]
    left_out: tuple[LeftOut, ...]
    spares: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...]
    ignored: tuple[str, ...]
    unset: Mapping[str, Unset]
    redis_url: str | None = field(repr=False)
    guardrails: tuple[NamedGuardrail, ...] = ()


def read_config(path: str | PathLike[str]) -> ConfigFile:
    """Read a configuration file of LiteLLM's. Logs nothing.

    Raises:
        ConfigurationError: `path` is not a path, or the file cannot be read, is not valid or has no `model_list`, a
            setting of the router refers to a variable that is not set, or a setting about money, trust or access would
            have no effect. The message begins with the file.
    """
    file = Path(checked_path(path, "path"))
    try:
        return _read(file, read_document(file))
    except ConfigurationError as error:
        raise located(error, file) from None


def located(error: RerankError, file: Path) -> ConfigurationError:
    """`error` as one of a file: its message begins with the file."""
    begins = error.message.startswith(str(file))
    kind = MissingExtraError if isinstance(error, MissingExtraError) else ConfigurationError
    return kind(error.message if begins else f"{file}: {error.message}")


def _read(file: Path, document: Mapping[str, Any]) -> ConfigFile:
    refuse_misspelt("", document, _SECTIONS)
    unset: dict[str, Unset] = {}
    general, own = (_resolved_section(document, name, unset) for name in ("general_settings", "anyrerank_settings"))
    litellm = _resolved_section(document, "litellm_settings", unset)
    guardrails = guardrails_of(document.get("guardrails"))
    if document.get("policy_attachments"):
        raise ConfigurationError(
            "policy_attachments, which apply guardrails, are not supported; remove them, and give guardrails default_on"
        )
    settings = read_settings(section(document, "litellm_settings"), str(file))
    router = {name: value for name, value in section(document, "router_settings").items() if value is not None}
    where = str(file)
    refuse_misspelt_in_file(router)
    for each in _unset(document, "router_settings", {*USED, *REDIS, CLUSTER}):
        raise each.error()
    redis = resolved_settings(
        {name: router.pop(name) for name in (*REDIS, CLUSTER) if name in router}, where, numbers=()
    )
    refuse(router)
    used = {name: value for name, value in router.items() if name in USED}
    arguments = {**settings.arguments, **resolved_settings(used, where, numbers=_NUMBERS)}
    if always := tuple(each for each in guardrails if each.default_on):
        arguments["guardrails"] = always
    found, left_out = select_rerankers(document["model_list"])
    absent = absent_names(found, left_out)
    bridge = present_fallbacks(arguments, absent & {each.name for each in left_out if each.variable is not None})
    given = {**arguments, **bridge.settings}
    named = {name: without(absent, given[name]) for name in _OF_NAMES if name in given}
    return ConfigFile(
        file=file,
        router={**arguments, **named, "model_list": [_with_params(each, settings.params) for each in found]},
        general=general,
        own=own,
        litellm=litellm,
        left_out=tuple(replace(each, where=each.where.removeprefix(f"{file}, ")) for each in left_out),
        spares=bridge.spares,
        names=tuple(
            dict.fromkeys(str(each.get("model_name")) for each in document["model_list"] if isinstance(each, Mapping))
        ),
        ignored=(
            *sorted(f"router_settings.{name}" for name in router.keys() - USED),
            *(f"litellm_settings.{name}" for name in settings.ignored),
            *sorted(map(str, document.keys() - _SECTIONS)),
        ),
        unset=unset,
        redis_url=redis_url_of(redis, "router_settings"),
        guardrails=guardrails,
    )


def _resolved_section(document: Mapping[str, Any], name: str, unset: dict[str, Unset]) -> Mapping[str, Any]:
    """A section without the settings that refer to a variable that is not set; these are added to `unset`."""
    given = section(document, name)
    missing = {each.setting: each for each in _unset(document, name, given)}
    unset.update(missing)
    return {setting: resolved(value, name) for setting, value in given.items() if f"{name}.{setting}" not in missing}


def _unset(document: Mapping[str, Any], name: str, settings: Container[str]) -> Iterator[Unset]:
    """Those of some settings of a section that refer to a variable which is not set."""
    given = section(document, name)
    places = given.places if isinstance(given, Located) else {}
    for setting, value in given.items():
        if setting in settings and (variable := first_unset(value)) is not None:
            yield Unset(f"{name}.{setting}", variable, places.get(setting))


def _with_params(entry: Located, params: Mapping[str, Any]) -> Located:
    """An entry with `params` where it has none."""
    own = entry.get("litellm_params")
    if not isinstance(own, Mapping):
        return entry
    return Located(entry.where, {**entry, "litellm_params": {**params, **own}})
