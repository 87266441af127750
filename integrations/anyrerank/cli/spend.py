"""`anyrerank spend`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.output import as_json, console, fits, table, without_control_characters
from anyrerank.errors import BadRequestError

if TYPE_CHECKING:
    from anyrerank.ledger import Spend

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def spend(
    *,
    db: Annotated[str, typer.Option(help="The ledger: the path of its SQLite file, or its URL.")] = "spend.db",
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Group by user, model, deployment, tag, day or provider. May be repeated. Default: user and model.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(help="First day in UTC, YYYY-MM-DD.", show_default=False)] = None,
    until: Annotated[
        str | None, typer.Option(help="Last day in UTC, YYYY-MM-DD, included.", show_default=False)
    ] = None,
    user: Annotated[str | None, typer.Option(help="Only calls of this end user.", show_default=False)] = None,
    tag: Annotated[str | None, typer.Option(help="Only calls with this tag.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="Only calls of this model.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Show what was spent according to a ledger, highest cost first.

    Calls of the last second may not be in the database yet.

    Calls of a killed process appear when another ledger writes to the database.
    """
    with one_line_errors():
        from anyrerank.ledger import Filter, Store, checked
        from anyrerank.ledger import table as spending

        groups = checked(by or ("user", "model"))
        for option, text in (("--user", user), ("--tag", tag), ("--model", model)):
            _check_text(option, text)
        filter_ = Filter(since=_date("--since", since), until=_date("--until", until), user=user, tag=tag, model=model)
        with closing(Store(db, create=False)) as store:
            spends, (total,) = store.spend(groups, filter_), store.spend((), filter_)
        if json:
            typer.echo(as_json(spending.as_json(spends, total)))
            return
        spends = _printable(spends)
        if markdown:
            typer.echo(spending.markdown(groups, spends, total), nl=False)
            return
        shown = console()
        head, rows = spending.head(groups), [*spending.lines(groups, spends, total)]
        columns = [head.index("cost"), *(index for index, name in enumerate(head) if name != "cost")]
        while len(columns) > 1 + len(groups) and not fits(shown, _columns(head, rows, columns)):
            columns.pop()
        shown.print(_columns(head, rows, columns))
        if hidden := [name for index, name in enumerate(head) if index not in columns]:
            shown.print(Text(f"not shown, as the terminal is too narrow: {', '.join(hidden)}; see --json"))
        for remark in spending.remarks(groups, total):
            shown.print(Text(remark))


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]) -> Table:
    return table([head[each] for each in columns], ([row[each] for each in columns] for row in rows))


def _date(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    # Checked here because Python versions differ in the formats they accept. The very last day has no next day, before
    # which its calls would lie.
    if _DATE.fullmatch(text) and text != date.max.isoformat():
        with suppress(ValueError):
            return date.fromisoformat(text)
    raise BadRequestError(f"{option} must be a day such as 2026-11-01, got {text!r}")


def _check_text(option: str, text: str | None) -> None:
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise BadRequestError(f"{option} must be valid UTF-8") from None


def _printable(spends: Sequence[Spend]) -> list[Spend]:
    return [
        replace(spend, group={name: value and without_control_characters(value) for name, value in spend.group.items()})
        for spend in spends
    ]
