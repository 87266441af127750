"""From a `model_list` in LiteLLM's form to deployments, and from lists of fallbacks to chains of names."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from anyrerank._core.engine import Deployment, provider_class, variable
from anyrerank._core.http import Transport
from anyrerank._core.pricing import Budget, Price
from anyrerank._core.routing.decisions import Load, Terms
from anyrerank._core.runtime import is_number
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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Entry:
    """One deployment of a router: what is asked, on what terms, and how it is doing."""

    model_name: str
    deployment: Deployment
    terms: Terms
    budget: Budget | None
    load: Load = field(default_factory=Load, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another place or process, which knows nothing of how it is doing."""
        return (_entry, (self.model_name, self.deployment, self.terms, self.budget))


def _entry(model_name: str, deployment: Deployment, terms: Terms, budget: Budget | None) -> Entry:
    return Entry(model_name=model_name, deployment=deployment, terms=terms, budget=budget)


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
    given: Mapping[str, Any], where: str, default_id: str, prices: Mapping[str, Price], transport: Transport
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
        entry = Entry(
            model_name=name,
            deployment=_deployment(params, info, where, model_id, prices=prices, transport=transport),
            terms=_terms(params, where),
            budget=_budget(params),
        )
        fault = entry.deployment.fault()
        if isinstance(fault, BadRequestError):  # of what was given, which no variable that is set later can mend
            raise fault
        if entry.budget is not None and fault is None:
            entry.deployment.estimate(RerankRequest(query="", documents=()))
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
    transport: Transport,
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
        transport=transport,
        defaults={name: params[name] for name in kind.options & params.keys() if params[name] is not None},
        default_body=params.get("extra_body"),
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


_WRONG_FALLBACKS = "fallbacks is a list of mappings from a name to a list of names"

Fallbacks = Mapping[str, Sequence[str]] | Sequence[Mapping[str, Sequence[str]]]


def chains(
    names: Iterable[str], fallbacks: Fallbacks, default: Sequence[str], most: int, aliases: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """For each name, those that are asked after it: its fallbacks, each followed by its own.

    Args:
        default: The fallbacks of names without any; `"*"` among `fallbacks` says the same, as in LiteLLM.
        most: How many of a chain are kept.
        aliases: Other names.

    Raises:
        ConfigurationError: A fallback that is no name, or one to itself or in a circle.
    """
    known = {**{name: name for name in names}, **aliases}
    given = _merged(fallbacks)
    usual = _known("default_fallbacks", [*default, *given.pop("*", ())], known)
    own = {_known("fallbacks", [name], known)[0]: _known("fallbacks", others, known) for name, others in given.items()}
    return {name: _chain(name, own, usual)[:most] for name in known if name not in aliases}


def _known(what: str, names: Sequence[object], known: Mapping[str, str]) -> list[str]:
    for name in names:
        if not isinstance(name, str):
            raise ConfigurationError(f"{what} is a list of names" if what != "fallbacks" else _WRONG_FALLBACKS)
        if name not in known:
            raise ConfigurationError(f"{what}: no deployment has the name {name}; there are {', '.join(known)}")
    return [known[str(name)] for name in names]


def _merged(fallbacks: Fallbacks) -> dict[str, Sequence[str]]:
    listed: Sequence[Any] = [fallbacks] if isinstance(fallbacks, Mapping) else fallbacks
    if not isinstance(listed, list | tuple):
        raise ConfigurationError(_WRONG_FALLBACKS)
    merged: dict[str, Sequence[str]] = {}
    for each in listed:
        if not isinstance(each, Mapping) or not all(isinstance(others, list | tuple) for others in each.values()):
            raise ConfigurationError(_WRONG_FALLBACKS)
        merged.update(each)
    return merged


def _chain(name: str, own: Mapping[str, Sequence[str]], default: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    path = {name: iter(own.get(name, ()))}
    while path:
        last = next(reversed(path))
        other = next(path[last], None)
        if other is None:
            del path[last]
        elif other in path:
            raise ConfigurationError(f"fallbacks go in a circle: {' -> '.join((*path, other))}")
        elif other not in found:
            found[other] = None
            path[other] = iter(own.get(other, ()))
    return tuple(found) or tuple(other for other in default if other != name)
