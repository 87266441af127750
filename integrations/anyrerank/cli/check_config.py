"""`anyrerank check` for a configuration file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from anyrerank.cli.address import address_of
from anyrerank.cli.call import call_of
from anyrerank.cli.credentials import key_text
from anyrerank.cli.output import console, table, without_control_characters
from anyrerank.cli.services import refuse_missing_extras, services
from anyrerank.errors import RerankError, public_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from anyrerank import Budget, Router
    from anyrerank._core.engine import Deployment
    from anyrerank._core.routing import Entry, LeftOut
    from anyrerank.gateway.configuration import GatewayConfig

_OF_SEVERAL = frozenset({"cache", "default_fallbacks", "fallbacks", "model_group_alias"})
"""Arguments of a router that name other models, or that would answer without a call."""


def check_config(path: Path, *, call: bool = False, connect: bool = False) -> None:
    """Print what a gateway with this file would serve.

    Args:
        path: The file.
        call: Whether to make one tiny call to each deployment.
        connect: Whether to connect to the database and to Redis.

    Raises:
        ConfigurationError: The file cannot be served.
        typer.Exit: A model in it cannot be called, or a gateway would not start.
    """
    from anyrerank._core.client import deployments_of
    from anyrerank.gateway.configuration import config_of_file, service_of
    from anyrerank.gateway.weaknesses import missing_prices

    config = config_of_file(path)
    router = service_of(config).router
    deployments = deployments_of(router)
    rows = [*(_row(name, each) for name, each in deployments), *_wildcards(config)]
    console().print(table(("name", "deployment", "id", "address", "key", "price"), rows))
    for line in (
        *_remarks(config),
        *_routing(config, router),
        *(f"warning: {each}" for each in missing_prices(router)),
    ):
        typer.echo(without_control_characters(line))
    starts = _services(config, connect=connect)
    failed = [*_failed_calls(config)] if call else [each for _, each in deployments if each.fault()]
    if failed or not starts or any(each.variable for each in config.left_out):
        raise typer.Exit(1)


def _services(config: GatewayConfig, *, connect: bool) -> bool:
    """Print what the gateway needs besides its providers, and return whether it could start."""
    try:
        refuse_missing_extras(config.settings)
        found = [*services(config.settings, connect=connect)]
    except RerankError as error:
        found = [(f"error: {error.message}", False)]
    for line, _ in found:
        typer.echo(without_control_characters(line))
    return all(starts for _, starts in found)


def _row(name: str, deployment: Deployment) -> tuple[str, ...]:
    return name, deployment.name, deployment.model_id or "", _address(deployment), _key(deployment), _price(deployment)


def _address(deployment: Deployment) -> str:
    try:
        return address_of(deployment.connected())
    except RerankError:
        return ""  # the column of the key says why


def _wildcards(config: GatewayConfig) -> Iterator[tuple[str, ...]]:
    """A row for each entry that stands for many models."""
    from anyrerank._core.routing import is_wildcard

    for entry in config.router["model_list"]:
        params = entry["litellm_params"]
        if is_wildcard(entry["model_name"]):
            key = "given" if params.get("api_key") else ""
            base = public_url(str(params.get("api_base") or ""))
            yield entry["model_name"], params["model"], _id(entry), base, key, "that of each model"


def _id(entry: Mapping[str, Any]) -> str:
    return str((entry.get("model_info") or {}).get("id") or "")


def _failed_calls(config: GatewayConfig) -> Iterator[str]:
    """Call each deployment separately and print the outcome; yields the names of those that failed."""
    from anyrerank import Router
    from anyrerank._core.routing import is_wildcard

    shared = {name: value for name, value in config.router.items() if name not in _OF_SEVERAL}
    for entry in config.router["model_list"]:
        name, model = entry["model_name"], entry["litellm_params"]["model"]
        what = f"call of {name} ({model})"
        if is_wildcard(name):
            typer.echo(without_control_characters(f"{what}: not made, as it stands for any model"))
            continue
        try:
            with Router(**{**shared, "model_list": [entry], "num_retries": 0}) as router:
                outcome = call_of(router.as_reranker(name))
        except RerankError as error:
            outcome = f"error: {error}"
            yield name
        typer.echo(without_control_characters(f"{what}: {outcome}"))


def _key(deployment: Deployment) -> str:
    from anyrerank.gateway.advice import for_operator

    try:
        return key_text(deployment.connected())
    except RerankError as error:
        return f"error: {for_operator(error.message)}"


def _price(deployment: Deployment) -> str:
    from anyrerank import catalog

    try:
        return catalog.price_text(deployment.price())
    except RerankError:
        return "unknown"


def _remarks(config: GatewayConfig) -> Iterator[str]:
    from anyrerank.gateway.weaknesses import short_master_key

    key = "set" if config.settings.master_key else "not set: the gateway answers this machine only"
    yield f"master key: {key}"
    if (weakness := short_master_key(config.settings)) is not None:
        yield f"warning: {weakness}"
    if config.settings.access_log:
        yield "access log: a line of JSON for each request"
    for guardrail in config.guardrails:
        when = "checks every call" if guardrail.default_on else "checks calls that name it"
        yield f"guardrail {guardrail.name} ({guardrail.kind}) {when}"
    for each in config.left_out:
        yield f"{_severity(each)}: {each}"
    for name, spares in config.absent.spares.items():
        yield f"{name} has no deployment left, and its fallbacks answer: {', '.join(spares)}"
    for name in config.ignored:
        yield f"ignored: {name}"


def _routing(config: GatewayConfig, router: Router) -> Iterator[str]:
    """Lines about what the router does with the deployments."""
    from anyrerank._core.client import entries_of, fallbacks_of

    options, given = router.options, config.router
    yield f"routing: {given.get('routing_strategy', 'simple-shuffle')}"
    retries = "1 retry" if options.max_retries == 1 else f"{options.max_retries} retries"
    yield f"each call: {_seconds(options.timeout)}, and {retries} for each name"
    for entries in entries_of(router).values():
        yield from filter(None, map(_terms, entries))
    for name, spares in fallbacks_of(router).items():
        yield f"fallbacks of {name}: {', '.join(spares)}"
    yield f"cache: {'none' if options.cache is None else options.cache}"
    for budget in options.shared_budgets:
        yield f"budget of the whole gateway: {_budget(budget)}"
    if options.user_budget is not None:
        yield f"budget of each end user: {_budget(options.user_budget)}"


def _terms(entry: Entry) -> str:
    """A line about the limits of a deployment and its place among the others; empty if it has none."""
    given = {name: value for name, value in asdict(entry.terms).items() if value is not None}
    if given.get("order") == 1:  # the default
        del given["order"]
    return f"{entry.id}: {', '.join(f'{name} {value:,}' for name, value in given.items())}" if given else ""


def _seconds(timeout: float | None) -> str:
    return "no timeout" if timeout is None else f"{timeout:g} seconds"


def _budget(budget: Budget) -> str:
    from anyrerank._core.pricing import dollars_text

    return dollars_text(budget.dollars) + ("" if budget.window is None else f" for {budget.window}")


def _severity(left_out: LeftOut) -> str:
    return "left out" if left_out.variable is None else "error"
