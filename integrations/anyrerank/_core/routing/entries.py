"""From a `model_list` in LiteLLM's form to groups of deployments."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from anyrerank._core.engine import Deployment, provider_class, variable
from anyrerank._core.pricing import Budget, Price
from anyrerank._core.routing.balancer import Entry, Group
from anyrerank._core.routing.load import Terms
from anyrerank._core.runtime import Sender, is_number
from anyrerank._core.types import RerankRequest
from anyrerank.errors import BadRequestError, ConfigurationError
from anyrerank.providers import is_http_url

_log = logging.getLogger("anyrerank")

_CONNECTION = ("api_key", "api_base", "custom_llm_provider")
_PRICES = ("input_cost_per_query", "input_cost_per_token")
_TERMS = ("weight", "rpm", "tpm", "order", "timeout")
_NUMBERS = (*_TERMS, *_PRICES, "max_budget")
_BUDGET = ("budget", "max_budget", "budget_duration")
_HEADERS = ("headers", "extra_headers")
_KINDS: Mapping[str, type] = {
    "api_key": str,
    "api_base": str,
    "headers": Mapping,
    "extra_headers": Mapping,
    "extra_body": Mapping,
}
_UNUSED = frozenset(
    {
        "allowed_fails",
        "api_version",
        "cooldown_time",
        "drop_params",
        "max_parallel_requests",
        "max_retries",
        "mock_response",
        "num_retries",
        "organization",
        "output_cost_per_token",
        "request_timeout",
        "stream_timeout",
        "tags",
        "use_in_pass_through",
    }
)
"""What LiteLLM knows and means nothing here, or is said for the whole router."""


class Located(dict[str, Any]):
    """An entry of `model_list` that knows where it was read.

    Attributes:
        where: For errors.
    """

    def __init__(self, given: Mapping[str, Any], where: str) -> None:
        super().__init__(given)
        self.where = where


def groups_of(model_list: object, prices: Mapping[str, Price], sender: Sender) -> dict[str, Group]:
    """The groups that a `model_list` describes, by name.

    Raises:
        ConfigurationError: It is no list of deployments, or an id is not unique.
    """
    if not isinstance(model_list, list | tuple) or not model_list:
        raise ConfigurationError("model_list must be a list of at least one deployment")
    groups: dict[str, Group] = {}
    ids: set[str] = set()
    for number, given in enumerate(each if isinstance(each, Mapping) else {} for each in model_list):
        where = given.where if isinstance(given, Located) else f"model_list[{number}]"
        name = str(given.get("model_name"))
        group = groups.get(name, Group(name, ()))
        entry = entry_of(given, where, f"{name}-{len(group.entries) + 1}", prices, sender)
        if entry.id in ids:
            raise ConfigurationError(f"{where} ({name}): the id {entry.id} is used by another deployment")
        ids.add(entry.id)
        groups[name] = Group(name, (*group.entries, entry))
    return groups


_REFERENCE = "os.environ/"


def resolved(value: Any, where: str) -> Any:
    """`value` with what the environment holds in place of `os.environ/NAME`, as in LiteLLM.

    Raises:
        ConfigurationError: A variable is not set.
    """
    if isinstance(value, Mapping):
        return {name: resolved(each, where) for name, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, where) for each in value]
    if not isinstance(value, str) or not value.startswith(_REFERENCE):
        return value
    name = value.removeprefix(_REFERENCE)
    try:
        found = variable(name)
    except UnicodeEncodeError:  # half of a character, which YAML can spell
        raise ConfigurationError(f"{where}: there can be no environment variable {name!a}") from None
    if found is None:
        raise ConfigurationError(f"{where}: the environment variable {name} is not set")
    return found


def with_numbers(given: Mapping[str, Any], found: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """`found`, which is `given` resolved, with numbers where the environment, which has only texts, spells them."""
    spelled = [name for name in names if isinstance(found.get(name), str) and found[name] != given[name]]
    return {**found, **{name: _number(found[name]) for name in spelled}}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def entry_of(
    given: Mapping[str, Any], where: str, default_id: str, prices: Mapping[str, Price], sender: Sender
) -> Entry:
    """The deployment that an entry of `model_list` describes.

    Args:
        where: Which entry it is, for errors.
        default_id: Its id, where `model_info` gives none.

    Raises:
        ConfigurationError: It says what no deployment can be.
    """
    params, info, name = given.get("litellm_params"), given.get("model_info") or {}, given.get("model_name")
    if not (isinstance(name, str) and name and isinstance(params, Mapping) and isinstance(info, Mapping)):
        raise ConfigurationError(f"{where} is not a mapping with a model_name and litellm_params")
    params = with_numbers(params, resolved(params, where), _NUMBERS)
    info = with_numbers(info, resolved(info, where), _PRICES)
    where, model_id = f"{where} ({name})", str(info.get("id") or default_id)
    try:
        deployment = _deployment(params, info, where, model_id, prices=prices, sender=sender)
        entry = Entry(id=model_id, deployment=deployment, terms=_terms(params, where))
        fault = deployment.fault()
        if isinstance(fault, BadRequestError):  # of what was given, which no variable that is set later can mend
            raise fault
        if deployment.budget is not None and fault is None:
            deployment.estimate(RerankRequest(query="", documents=()))
    except (BadRequestError, ConfigurationError) as error:
        if error.message.startswith(where):
            raise
        raise ConfigurationError(f"{where}: {error.message}") from None
    return entry


def _deployment(
    params: Mapping[str, Any],
    info: Mapping[str, Any],
    where: str,
    model_id: str,
    *,
    prices: Mapping[str, Price],
    sender: Sender,
) -> Deployment:
    kind = provider_class(params.get("model", ""), params.get("custom_llm_provider"))
    known = {"model", "extra_body", *_CONNECTION, *_PRICES, *_TERMS, *_BUDGET, *_HEADERS, *kind.settings, *kind.options}
    if unknown := sorted(map(str, params.keys() - known - _UNUSED)):
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"{where}: litellm_params has no {', '.join(unknown)}{hint}")
    if unused := sorted(params.keys() & _UNUSED):
        _log.warning("%s: %s in litellm_params means nothing here", where, ", ".join(unused))
    for name, kinds in _KINDS.items():
        if params.get(name) is not None and not isinstance(params[name], kinds):
            raise ConfigurationError(f"{where}: {name} is a {'mapping' if kinds is Mapping else 'string'}")
    base = (params.get("api_base") or "").strip()
    if base and not is_http_url(base):
        raise ConfigurationError(f"{where}: api_base is not an http(s) address such as https://host/v1")
    cost = {name: params.get(name, info.get(name)) for name in _PRICES}
    headers = [params.get(name) or {} for name in _HEADERS]
    return Deployment(
        params["model"],
        **{name: params.get(name) for name in _CONNECTION},
        headers={name: value for each in headers for name, value in each.items()} or None,
        settings={name: params[name] for name in kind.settings.keys() & params.keys()},
        price=Price(per_query=cost["input_cost_per_query"], per_token=cost["input_cost_per_token"]),
        prices=prices,
        sender=sender,
        defaults={name: params[name] for name in kind.options & params.keys() if params[name] is not None},
        default_body=params.get("extra_body"),
        budget=_budget(params),
        model_id=model_id,
    )


def _terms(params: Mapping[str, Any], where: str) -> Terms:
    given = {name: params[name] for name in _TERMS if params.get(name) is not None}
    for name, value in given.items():
        if not is_number(value) or value < 0 or (value == 0 and name != "weight"):
            raise ConfigurationError(f"{where}: {name} is a number {'of at least' if name == 'weight' else 'above'} 0")
    return Terms(**given)


def _budget(params: Mapping[str, Any]) -> Budget | None:
    budget, dollars = params.get("budget"), params.get("max_budget")
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigurationError("budget is a Budget; in a file write max_budget and budget_duration")
    window = params.get("budget_duration")
    if dollars is None and window is not None:
        raise ConfigurationError("budget_duration says how long max_budget is for, and there is no max_budget")
    return budget if dollars is None else Budget(dollars, window)
