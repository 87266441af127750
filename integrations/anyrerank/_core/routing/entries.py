"""From an entry of a `model_list` in LiteLLM's form to a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import SecretStr

from anyrerank._core.engine import (
    ALIASES,
    Deployment,
    Options,
    RerankerOptions,
    Slots,
    option_names,
    parse_options,
    provider_class,
    shown,
)
from anyrerank._core.http import Tls, Transport
from anyrerank._core.pricing import Budget, Price, list_prices
from anyrerank._core.routing.groups import Entry
from anyrerank._core.routing.load import Terms
from anyrerank._core.routing.spelling import refuse_misspelt
from anyrerank._core.runtime import did_you_mean, is_number, resolved_settings
from anyrerank._core.types import RerankRequest
from anyrerank.errors import BadRequestError, ConfigurationError
from anyrerank.providers import Provider, is_http_url

_PRICES = ("input_cost_per_query", "input_cost_per_token")
_OPTIONS = frozenset(
    {
        "api_key",
        "api_base",
        "headers",
        "extra_body",
        "score_scale",
        "ssl_verify",
        "ssl_certificate",
        "max_parallel_requests",
        *_PRICES,
    }
)
"""Options of a `Reranker` that mean the same in an entry."""
_NAMES_OF_OPTIONS = _OPTIONS | {alias for alias, name in ALIASES.items() if name in _OPTIONS}
_TERMS = ("weight", "rpm", "tpm", "order", "timeout")
_BUDGET = ("budget", "max_budget", "budget_duration")
_TRACE = "forward_trace"
_OF_A_CALL = "; it is an option of the whole Router, and of a call"
_NUMBERS = frozenset({*_TERMS, *_PRICES, "max_budget", "max_parallel_requests"})
_IGNORED = frozenset(
    {
        "additional_drop_params",
        "allow_client_keepalive_override",
        "allowed_fails",
        "allowed_openai_params",
        "api_type",
        "api_version",
        "base_model",
        "bedrock_tags",
        "cache_control_injection_points",
        "configurable_clientside_auth_params",
        "cooldown_time",
        "drop_params",
        "keepalive_seconds",
        "litellm_trace_id",
        "max_file_size_mb",
        "max_retries",
        "merge_reasoning_content_in_choices",
        "metadata",
        "mock_response",
        "mock_timeout",
        "model_info",
        "num_retries",
        "organization",
        "output_cost_per_token",
        "provider_affinity_header",
        "region_name",
        "request_timeout",
        "return_documents",
        "stream_timeout",
        "tag_regex",
        "tags",
        "top_n",
        "use_chat_completions_api",
        "use_in_pass_through",
        "user",
    }
)
"""Parameters that LiteLLM knows and that have no effect here, or are set for the whole router."""


_OF_AN_ENTRY = frozenset({"litellm_params", "model_info", "model_name"})
_RATES = ("rpm", "tpm")
"""Limits that LiteLLM also reads next to `litellm_params`, and in `model_info`."""
_OF_TEAMS = frozenset({"access_via_team_ids", "team_id"})
_PER_SECOND = frozenset({"cost_per_second", "input_cost_per_second", "output_cost_per_second"})


class Located(dict[str, Any]):
    """A mapping of a configuration file, and where it begins.

    Attributes:
        where: The file and the line, for errors.
        places: The same for each of its names, where that is known.
    """

    def __init__(
        self, where: str, content: Mapping[str, Any] | None = None, places: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content or {})
        self.where = where
        self.places: Mapping[str, str] = places or {}


def full_name(model: str) -> str:
    """`model` as `provider/model`: of a name alone if it is in the price list, and without LiteLLM's `cohere_chat`."""
    if model.startswith("cohere_chat/"):  # LiteLLM's user interface writes rerank models so
        return model.replace("cohere_chat/", "cohere/", 1)
    return model if "/" in model else _listed_names().get(model.casefold(), model)


@cache
def _listed_names() -> Mapping[str, str]:
    """The models in the price list by their name alone."""
    return {full.partition("/")[2].casefold(): full for full in list_prices() if full.count("/") == 1}


def parameters(kind: type[Provider]) -> frozenset[str]:
    """The `litellm_params` that a model of a provider may have."""
    own = {"model", "custom_llm_provider", _TRACE, *_NAMES_OF_OPTIONS, *_TERMS, *_BUDGET}
    used = {*own, *kind.settings, *option_names(kind)}
    return _IGNORED | used


def given_names(params: Mapping[str, Any]) -> list[str]:
    """The names in `litellm_params`, without what is switched off or empty, as LiteLLM's user interface writes it."""
    return [str(name) for name, value in params.items() if not (value is False or value in (None, "", [], {}))]


def entry_of(given: Mapping[str, Any], default_id: str, prices: Mapping[str, Price], transport: Transport) -> Entry:
    """The deployment that one entry of a `model_list` describes.

    Args:
        given: The entry.
        default_id: Its id if it has none.
        prices: The caller's prices by `provider/model`.
        transport: Sends the requests.

    Raises:
        ConfigurationError: The entry is wrong; the message begins with its position.
    """
    where, params, info = settings_of(given)
    model_id = str(info.get("id") or default_id)
    try:
        if prices_per_second := sorted(_PER_SECOND.intersection(given_names(info))):
            raise ConfigurationError(f"model_info: {prices_per_second[0]} is not supported; set input_cost_per_query")
        deployment = _deployment(params, info, model_id, prices=prices, transport=transport)
        entry = Entry(id=model_id, deployment=deployment, terms=_terms(params))
        fault = deployment.fault()
        if isinstance(fault, BadRequestError):  # wrong in every environment
            raise fault
        if deployment.contradicts(Options()):
            raise ConfigurationError(f"score_scale is not what the scores of {deployment.name} are; remove it")
        if deployment.budget is not None and fault is None and "*" not in deployment.model:
            deployment.estimate(RerankRequest(query="", documents=()))
    except (BadRequestError, ConfigurationError) as error:
        raise ConfigurationError(f"{where}: {error.message}") from None
    return entry


def settings_of(given: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The position of an entry, its `litellm_params` and its `model_info`, resolved.

    Raises:
        ConfigurationError: It has no name or no `litellm_params`, or a variable is not set.
    """
    where = given.where if isinstance(given, Located) else "model_list"
    name, params, info = given.get("model_name"), given.get("litellm_params"), given.get("model_info") or {}
    if not (isinstance(name, str) and name and isinstance(params, Mapping) and isinstance(info, Mapping)):
        raise ConfigurationError(f"{where} must be a mapping with a model_name and litellm_params")
    where = f"{where} ({name})"
    refuse_misspelt(where, given, {*_OF_AN_ENTRY, *_RATES})
    if misplaced := sorted(given.keys() & (_NAMES_OF_OPTIONS.union(_TERMS, _BUDGET) - {*_RATES})):
        raise ConfigurationError(f"{where}: {', '.join(misplaced)} belongs in litellm_params")
    if limited := sorted(_OF_TEAMS.intersection(given_names(info))):
        raise ConfigurationError(f"{where}: model_info: {', '.join(limited)} is not supported: every key could use it")
    rates = {name: each[name] for each in (info, given) for name in _RATES if each.get(name) is not None}
    return (
        where,
        resolved_settings({**rates, **params}, where, numbers=_NUMBERS),
        resolved_settings(info, where, numbers=_NUMBERS),
    )


def ignored_in(given: Mapping[str, Any]) -> list[str]:
    """The `litellm_params`, and what is next to them, that have no effect."""
    beside = given.keys() - {*_OF_AN_ENTRY, *_RATES}
    return [*sorted(_IGNORED.intersection(given_names(given["litellm_params"]))), *sorted(map(str, beside))]


def _deployment(
    params: Mapping[str, Any],
    info: Mapping[str, Any],
    model_id: str,
    *,
    prices: Mapping[str, Price],
    transport: Transport,
) -> Deployment:
    model, custom_llm_provider = params.get("model", ""), params.get("custom_llm_provider")
    if custom_llm_provider is None and isinstance(model, str):
        model = full_name(model)
    kind = provider_class(model, custom_llm_provider)
    _check_names(params, kind)
    costs = {name: params.get(name, info.get(name)) for name in _PRICES}
    given = {name: params[name] for name in _NAMES_OF_OPTIONS & params.keys()}
    options = parse_options(RerankerOptions, {**given, **costs})
    base, key = (options.api_base or "").strip(), options.api_key
    if base and not is_http_url(base):
        raise ConfigurationError("api_base must be an http(s) URL such as https://host/v1")
    return Deployment(
        model,
        custom_llm_provider=custom_llm_provider,
        api_key=key.get_secret_value() if isinstance(key, SecretStr) else key,
        api_base=base,
        headers=options.headers,
        settings={name: params[name] for name in kind.settings.keys() & params.keys()},
        price=Price(per_query=options.input_cost_per_query, per_token=options.input_cost_per_token),
        prices=prices,
        sender=transport.with_tls(Tls.from_options(options.ssl_verify, options.ssl_certificate)),
        slots=Slots.of(options.max_parallel_requests),
        defaults={name: params[name] for name in option_names(kind) & params.keys() if params[name] is not None},
        default_body=options.extra_body,
        score_scale=options.score_scale,
        budget=budget_of(params),
        model_id=model_id,
        forward_trace=_forward_trace(params),
    )


def _forward_trace(params: Mapping[str, Any]) -> bool:
    given = params.get(_TRACE)
    if given is not None and not isinstance(given, bool):
        raise ConfigurationError(f"{_TRACE} must be true or false, got {shown(given)}")
    return given is not False


def _check_names(params: Mapping[str, Any], kind: type[Provider]) -> None:
    known = parameters(kind)
    if unknown := sorted(set(given_names(params)) - known):
        hint = _OF_A_CALL if unknown[0] in Options.model_fields else did_you_mean(unknown[0], known)
        raise ConfigurationError(f"litellm_params has no {', '.join(unknown)}{hint}")


def _terms(params: Mapping[str, Any]) -> Terms:
    given = {name: params[name] for name in _TERMS if params.get(name) is not None}
    for name, value in given.items():
        may_be_0 = name == "weight"
        if not is_number(value) or value < 0 or (value == 0 and not may_be_0):
            must = "a number of at least 0" if may_be_0 else "a positive number"
            raise ConfigurationError(f"{name} must be {must}, got {shown(value)}")
    return Terms(**given)


def budget_of(params: Mapping[str, Any]) -> Budget | None:
    budget, dollars, window = (params.get(name) for name in _BUDGET)
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigurationError("budget must be a Budget; in a file, write max_budget and budget_duration")
    if dollars is None and window is not None:
        raise ConfigurationError("budget_duration needs a max_budget")
    return budget if dollars is None else Budget(dollars, window)
