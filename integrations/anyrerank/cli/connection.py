"""Options of the connection to a model, which several commands share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from anyrerank.errors import BadRequestError

ApiBase = Annotated[
    str | None, typer.Option("--api-base", help="Base URL of the provider, or of your server.", show_default=False)
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        help="Key of the provider. Other users of this machine may see it; the environment is safer.",
        show_default=False,
    ),
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", help="Seconds for a call. Default: 60.", show_default=False)
]
MoreOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="Any other option of a Reranker, such as truncate=END. May be repeated.",
        show_default=False,
    ),
]


def connection(
    api_base: str | None, api_key: str | None, timeout: float | None, options: Sequence[str] | None
) -> dict[str, Any]:
    """Arguments of a `Reranker`, without those that were not given.

    Raises:
        BadRequestError: An option is not `NAME=VALUE`, or was given twice.
    """
    given = {"api_base": api_base, "api_key": api_key, "timeout": timeout}
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in map(_option, options or []):
        if name in found:
            raise BadRequestError(f"{name} was given twice")
        found[name] = value
    return found


def check_one_provider(models: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuse to send one key, or one base URL, to several providers.

    Raises:
        BadRequestError: The models have several providers, and a key or base URL was given.
    """
    providers = sorted({model.partition("/")[0] for model in models})
    if len(providers) > 1 and given.keys() & {"api_key", "api_base"}:
        raise BadRequestError(
            f"--api-key and --api-base need models of one provider, got {', '.join(providers)}: set the environment "
            "variables of each provider (see anyrerank providers)"
        )


def _option(text: str) -> tuple[str, Any]:
    """The name and the value: JSON such as 5, true or null, else the text itself."""
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise BadRequestError("--option must be NAME=VALUE, such as truncate=END")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
