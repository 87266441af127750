"""The names of a router: those in its `model_list`, and those that a wildcard stands for."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from anyrerank._core.engine import RerankerOptions, Slots, parse_options, split_model
from anyrerank._core.http import Transport
from anyrerank._core.pricing import Budget, Price
from anyrerank._core.routing.entries import Located, budget_of, entry_of, full_name, ignored_in, settings_of
from anyrerank._core.routing.groups import Entry, Group
from anyrerank._core.runtime import REFERENCE
from anyrerank.errors import BadRequestError, ConfigurationError
from anyrerank.providers import names

_log = logging.getLogger("anyrerank")

_MODEL = re.compile(r"(?!.*\.\.)[\w@.:/+~-]{1,200}", re.ASCII)
"""What may stand in for an asterisk: it ends up in URLs, and comes from a caller."""
_MAX_MADE = 1000
"""How many names that wildcards stand for are kept."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WildcardEntry:
    """An entry whose `model_name` has asterisks; its models share a budget and the limit of concurrent requests."""

    given: Located
    id: str
    budget: Budget | None
    slots: Slots | None
    prices: Mapping[str, Price]
    transport: Transport

    @classmethod
    def of(cls, given: Located, default_id: str, prices: Mapping[str, Price], transport: Transport) -> WildcardEntry:
        """The entry.

        Raises:
            ConfigurationError: It is wrong.
        """
        where, params, info = settings_of(given)
        if not _is_open(params):
            entry_of(given, default_id, prices, transport)
        elif params.get("api_key") and not (params.get("api_base") or params.get("base_url")):
            raise ConfigurationError(f"{where}: the api_key of a model '*' would be sent to every provider; remove it")
        try:
            limit = parse_options(RerankerOptions, {"max_parallel_requests": params.get("max_parallel_requests")})
            budget = budget_of(params)
        except (BadRequestError, ConfigurationError) as error:
            raise ConfigurationError(f"{where}: {error.message}") from None
        return cls(
            given=Located(
                given.where, {**given, "litellm_params": {**given["litellm_params"], "model": params["model"]}}
            ),
            id=str(info.get("id") or default_id),
            budget=budget,
            slots=Slots.of(limit.max_parallel_requests),
            prices=prices,
            transport=transport,
        )

    def entry(self, name: str, segments: tuple[str, ...]) -> Entry:
        """The deployment of a name that the wildcard stands for.

        Args:
            name: The name that is asked.
            segments: What stands in for the asterisks of the wildcard.

        Raises:
            ConfigurationError: There is no such model or provider.
        """
        params = self.given["litellm_params"]
        model = _filled(str(params["model"]), name, segments)
        if model.startswith(REFERENCE):  # the name comes from a caller, who must not read the environment
            raise ConfigurationError(f"{name[:80]} is not the name of a model")
        given = Located(self.given.where, {**self.given, "litellm_params": {**params, "model": model}})
        entry = entry_of(given, self.id, self.prices, self.transport)
        if _is_open(params) and entry.deployment.kind.free:
            raise ConfigurationError(
                f"{entry.deployment.provider} runs on this machine, and must be listed in model_list"
            )
        entry.deployment.budget, entry.deployment.slots = self.budget, self.slots
        return replace(entry, id=f"{entry.id}:{name}")


class Groups:
    """The groups of a router by name; those of a wildcard are created when a name is first requested.

    Attributes:
        named: The groups whose names are in the `model_list`.
        wildcards: Entries by name with asterisks, the most specific name first.
    """

    def __init__(self, named: Mapping[str, Group], wildcards: Mapping[str, tuple[WildcardEntry, ...]]) -> None:
        self.named = named
        self.wildcards = dict(sorted(wildcards.items(), key=lambda each: len(each[0]), reverse=True))
        self._made: dict[str, Group] = {}

    def __repr__(self) -> str:
        sizes = {name: len(group.entries) for name, group in self.named.items()}
        sizes |= {name: len(entries) for name, entries in self.wildcards.items()}
        return ", ".join(f"{name}: {size}" for name, size in sizes.items())

    def __iter__(self) -> Iterator[Group]:
        """The groups that there are so far."""
        return iter([*self.named.values(), *list(self._made.values())])

    @property
    def providers(self) -> frozenset[str]:
        """The providers that are asked; with a wildcard for everything, all of them."""
        listed = {entry.deployment.provider for group in self for entry in group.entries}
        params = [each.given["litellm_params"] for entries in self.wildcards.values() for each in entries]
        if any(map(_is_open, params)):
            return frozenset({*listed, *names()})
        return frozenset(
            {*listed, *(split_model(each["model"], each.get("custom_llm_provider"))[0] for each in params)}
        )

    @property
    def budgets(self) -> dict[str, Budget]:
        """The budgets of deployments by their id; that of a wildcard is shared by its models."""
        found = [(each.id, each.budget) for entries in self.wildcards.values() for each in entries]
        found += [(each.id, each.deployment.budget) for group in self.named.values() for each in group.entries]
        return {model_id: budget for model_id, budget in found if budget is not None}

    def find(self, name: str) -> Group | None:
        """The group of a name, or `None`.

        Raises:
            BadRequestError: A wildcard stands for the name, and it is not that of a model.
        """
        found = self.named.get(name) or self._made.get(name)
        if found is not None or self.wildcard_of(name) is None:
            return found
        try:
            group = self._group(name)
        except ConfigurationError as error:
            raise BadRequestError(error.message) from None
        if len(self._made) >= _MAX_MADE:
            self._made.clear()
        return self._made.setdefault(name, group)

    def wildcard_of(self, name: str) -> str | None:
        """The wildcard that stands for a name, or `None`."""
        return next((each for each in self.wildcards if _segments(each, name) is not None), None)

    def _group(self, name: str) -> Group:
        wildcard = self.wildcard_of(name) or ""
        segments = _segments(wildcard, name) or ()
        return Group(name, tuple(each.entry(name, segments) for each in self.wildcards[wildcard]))


def groups_of(model_list: object, prices: Mapping[str, Price], transport: Transport) -> Groups:
    """The groups that a `model_list` describes.

    Args:
        model_list: LiteLLM's.
        prices: The caller's prices by `provider/model`.
        transport: Sends the requests.

    Raises:
        ConfigurationError: It is not a list of deployments, or an id is not unique.
    """
    if not isinstance(model_list, list | tuple) or not model_list:
        raise ConfigurationError("model_list must be a list of at least one deployment")
    named: dict[str, tuple[Entry, ...]] = {}
    wildcards: dict[str, tuple[WildcardEntry, ...]] = {}
    ids: set[str] = set()
    for number, each in enumerate(model_list):
        given = located_entry(each, number)
        name = str(given.get("model_name"))
        default_id = f"{name}-{len(named.get(name) or wildcards.get(name) or ()) + 1}"
        entry: Entry | WildcardEntry
        if is_wildcard(name):
            entry = WildcardEntry.of(given, default_id, prices, transport)
            wildcards[name] = (*wildcards.get(name, ()), entry)
        else:
            _refuse_wildcard(given)
            entry = entry_of(given, default_id, prices, transport)
            named[name] = (*named.get(name, ()), entry)
        if entry.id in ids:
            raise ConfigurationError(f"{given.where} ({name}): the id {entry.id} is used by another deployment")
        ids.add(entry.id)
        if ignored := ignored_in(given):
            _log.warning("%s (%s): ignored: %s", given.where, name, ", ".join(ignored))
    return Groups({name: Group(name, entries) for name, entries in named.items()}, wildcards)


def _refuse_wildcard(given: Located) -> None:
    """Raise for a name that would ask for the model `*`."""
    params = given.get("litellm_params")
    if isinstance(params, Mapping) and "*" in str(params.get("model")):
        raise ConfigurationError(
            f"{given.where} ({given.get('model_name')}): model is a wildcard, so model_name must be one too, such as *"
        )


def located_entry(given: object, number: int) -> Located:
    """An entry of a `model_list` with its position; what is not a mapping is an empty one, which is refused later."""
    if isinstance(given, Located):
        return given
    return Located(f"model_list[{number}]", given if isinstance(given, Mapping) else {})


def is_wildcard(name: str) -> bool:
    """Whether a name has asterisks, which stand for any text."""
    return "*" in name


def _is_open(params: Mapping[str, Any]) -> bool:
    """Whether the caller says which provider is asked."""
    return params.get("model") == "*" and not params.get("custom_llm_provider")


def _segments(wildcard: str, name: str) -> tuple[str, ...] | None:
    """What stands in for the asterisks of a wildcard in a name, also in that of a model without its provider."""
    pattern = re.escape(wildcard).replace(r"\*", "(.*)")
    for each in (name, full_name(name)):
        found = re.fullmatch(pattern, each)
        if found is not None and _MODEL.fullmatch(each):
            return found.groups()
    return None


def _filled(model: str, name: str, segments: tuple[str, ...]) -> str:
    """`model` with the segments in place of its asterisks; the name itself if it has fewer, as in LiteLLM."""
    if "*" not in model:
        return model
    if len(segments) > model.count("*"):
        return name
    for segment in segments:
        model = model.replace("*", segment, 1)
    return model
