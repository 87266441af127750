"""`anyrerank check` for a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from anyrerank.cli.output import console, table, without_control_characters
from anyrerank.errors import RerankError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyrerank._core.engine import Deployment
    from anyrerank._core.routing import LeftOut
    from anyrerank.gateway.config import GatewayConfig


def check_config(path: Path) -> None:
    """Print what a gateway with this file would serve. Sends nothing.

    Raises:
        ConfigurationError: The file cannot be served.
        typer.Exit: A model in it cannot be called.
    """
    from anyrerank._core.client import deployments_of
    from anyrerank.gateway.config import config_of_file, service_of

    config = config_of_file(path)
    deployments = deployments_of(service_of(config).router)
    rows = [(name, each.name, _key(each), _price(each)) for name, each in deployments]
    console().print(table(("name", "deployment", "key", "price"), rows))
    for line in _remarks(config):
        typer.echo(without_control_characters(line))
    if any(each.fault() for _, each in deployments) or any(each.variable for each in config.left_out):
        raise typer.Exit(1)


def _key(deployment: Deployment) -> str:
    from anyrerank.gateway.advice import for_operator

    try:
        connection = deployment.connected().connection
    except RerankError as error:
        return f"error: {for_operator(error.message)}"
    if connection.api_key is None:
        return "none"
    return f"found in {connection.key_variable}" if connection.key_variable else "given"


def _price(deployment: Deployment) -> str:
    from anyrerank import catalog

    try:
        return catalog.price_text(deployment.price())
    except RerankError:
        return "unknown"


def _remarks(config: GatewayConfig) -> Iterator[str]:
    key = "set" if config.settings.master_key else "not set: the gateway answers this machine only"
    yield f"master key: {key}"
    for each in config.left_out:
        yield f"{_severity(each)}: {each}"
    for name in config.ignored:
        yield f"ignored: {name}"


def _severity(left_out: LeftOut) -> str:
    return "left out" if left_out.variable is None else "error"
