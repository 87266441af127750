"""`anyrerank providers`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.output import as_json, console, table

if TYPE_CHECKING:
    from anyrerank.catalog import Card


def providers(
    prefix: Annotated[str | None, typer.Argument(help="Show everything about this one.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown: a table, and a section for each.")
    ] = False,
) -> None:
    """List the providers with their keys, options, limits, and the scale of their scores."""
    from anyrerank import catalog
    from anyrerank.providers import load

    with one_line_errors():
        cards = catalog.cards() if prefix is None else (catalog.card(load(prefix)),)
        if json:
            typer.echo(as_json([asdict(each) for each in cards]))
        elif markdown:
            typer.echo(catalog.markdown(cards), nl=False)
        elif prefix is None:
            console().print(table(catalog.COLUMNS, map(catalog.row, cards)))
        else:
            console().print(_details(cards[0]))


def _details(card: Card) -> Table:
    """A provider's card, one line for each property."""
    details = Table(box=None, pad_edge=False, show_header=False)
    for name, value in asdict(card).items():
        if name not in ("settings", "models") and value not in (None, ()):
            details.add_row(name, Text(", ".join(value) if isinstance(value, tuple) else str(value)))
    for model in card.models:
        details.add_row("model", Text(f"{model.name}  {model.price}"))
    for name, setting in card.settings.items():
        variables = f" ({', '.join(setting.variables)})" if setting.variables else ""
        details.add_row(name, Text(setting.about + variables))
    return details
