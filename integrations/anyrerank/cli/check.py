"""`anyrerank check`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import anyrerank
from anyrerank.cli.call import call_of
from anyrerank.cli.check_config import check_config
from anyrerank.cli.connection import ApiBase, ApiKey, MoreOptions, Timeout, connection
from anyrerank.cli.credentials import key_text
from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.network import network_facts
from anyrerank.cli.output import console, without_control_characters
from anyrerank.errors import AuthenticationError, BadRequestError, RerankError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anyrerank._core.pricing import Price
    from anyrerank.providers import Provider


def check(
    *,
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="provider/model, or a configuration file.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A configuration file of LiteLLM's.", show_default=False)
    ] = None,
    call: Annotated[
        bool, typer.Option("--call", help="Also make one tiny call to each model, which may cost money.")
    ] = False,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also connect to the database and to Redis of a file; --call does so too.")
    ] = False,
    api_base: ApiBase = None,
    api_key: ApiKey = None,
    timeout: Timeout = None,
    option: MoreOptions = None,
) -> None:
    """Show whether a model can be called, or what a configuration file serves.

    Sends nothing without --call or --connect. The status is 1 if the model, or one of those in the file, cannot be
    called, or if a gateway with the file would not start.
    """
    is_file = config is not None or _is_file(model)
    with one_line_errors(extra="gateway" if is_file else "cli"):
        if is_file:
            if given := connection(api_base, api_key, timeout, option):
                raise BadRequestError(f"{', '.join(given)} cannot be given with a file: write it in the file")
            check_config(config or Path(str(model)), call=call, connect=call or connect)
            return
        if connect:
            raise BadRequestError("--connect needs a file, which names a database or Redis")
        if model is None:
            raise BadRequestError("check needs a MODEL such as cohere/rerank-v3.5, or --config FILE")
        options = connection(api_base, api_key, timeout, option)
        reranker = anyrerank.Reranker(model, **options)
        provider = _provider(model, options)
        with suppress(AuthenticationError):  # raised below: without a key, the table is of use
            reranker.check()
        shown = Table(box=None, pad_edge=False, show_header=False)
        for name, value in _facts(provider, reranker, options):
            shown.add_row(name, Text(without_control_characters(value, keep="\n")))
        console().print(shown)
        with reranker:
            reranker.check()
            if call:
                typer.echo(f"call: {call_of(reranker)}")


def _is_file(model: str | None) -> bool:
    return model is not None and model.endswith((".yaml", ".yml"))


def _provider(model: str, options: Mapping[str, Any]) -> Provider:
    from anyrerank._core.engine import connect, provider_class

    kind = provider_class(model)
    return connect(
        model,
        api_key=options.get("api_key"),
        api_base=options.get("api_base"),
        settings={name: value for name, value in options.items() if name in kind.settings},
    )


def _facts(provider: Provider, reranker: anyrerank.Reranker, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from anyrerank import catalog

    card = catalog.card(type(provider))
    yield "model", provider.deployment
    yield "provider", card.title
    yield "key", key_text(provider)
    if provider.connection.from_environment:
        yield "settings", f"from the environment: {', '.join(sorted(provider.connection.from_environment))}"
    yield from network_facts(provider, options.get("ssl_verify"))
    yield "price", catalog.price_text(_price(provider, reranker))
    limit = card.documents_per_request
    yield "documents per request", "no known limit" if limit is None else f"{limit:,}"
    yield "timeout", "none" if reranker.options.timeout is None else f"{reranker.options.timeout:g} seconds"


def _price(provider: Provider, reranker: anyrerank.Reranker) -> Price | None:
    """The price of the model, from the list if the model cannot be called."""
    from anyrerank._core.pricing import list_price

    try:
        return reranker.price()
    except RerankError:
        return list_price(provider.price_names)
