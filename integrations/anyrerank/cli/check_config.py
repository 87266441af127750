"""`anyrerank check` for a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from anyrerank.cli.call import call_of
from anyrerank.cli.credentials import key_text
from anyrerank.cli.output import console, table, without_control_characters
from anyrerank.errors import RerankError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyrerank._core.engine import Deployment
    from anyrerank._core.routing import LeftOut
    from anyrerank.gateway.configuration import GatewayConfig

_OF_SEVERAL = frozenset({"cache", "default_fallbacks", "fallbacks", "model_group_alias"})
"""Arguments of a router that name other models, or that would answer without a call."""


def check_config(path: Path, *, call: bool = False) -> None:
    """Print what a gateway with this file would serve.

    Args:
        path: The file.
        call: Whether to make one tiny call to each deployment; otherwise nothing is sent.

    Raises:
        ConfigurationError: The file cannot be served.
        typer.Exit: A model in it cannot be called.
    """
    from anyrerank._core.client import deployments_of
    from anyrerank.gateway.configuration import config_of_file, service_of

    config = config_of_file(path)
    deployments = deployments_of(service_of(config).router)
    rows = [*((name, each.name, _key(each), _price(each)) for name, each in deployments), *_wildcards(config)]
    console().print(table(("name", "deployment", "key", "price"), rows))
    for line in _remarks(config):
        typer.echo(without_control_characters(line))
    failed = [*_failed_calls(config)] if call else [each for _, each in deployments if each.fault()]
    if failed or any(each.variable for each in config.left_out):
        raise typer.Exit(1)


def _wildcards(config: GatewayConfig) -> Iterator[tuple[str, str, str, str]]:
    """A row for each entry that stands for many models."""
    from anyrerank._core.routing import is_wildcard

    for entry in config.router["model_list"]:
        params = entry["litellm_params"]
        if is_wildcard(entry["model_name"]):
            yield entry["model_name"], params["model"], "given" if params.get("api_key") else "", "that of each model"


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
    key = "set" if config.settings.master_key else "not set: the gateway answers this machine only"
    yield f"master key: {key}"
    for guardrail in config.guardrails:
        when = "checks every call" if guardrail.default_on else "checks calls that name it"
        yield f"guardrail {guardrail.name} ({guardrail.kind}) {when}"
    for each in config.left_out:
        yield f"{_severity(each)}: {each}"
    for name, spares in config.absent.spares.items():
        yield f"{name} has no deployment left, and its fallbacks answer: {', '.join(spares)}"
    for name in config.ignored:
        yield f"ignored: {name}"


def _severity(left_out: LeftOut) -> str:
    return "left out" if left_out.variable is None else "error"
