"""`anyrerank spend`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.table import Table
from rich.text import Text

from anyrerank.cli.databases import aliases_of, ledger_of
from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.output import as_json, console, fits, table, without_control_characters
from anyrerank.errors import BadRequestError

if TYPE_CHECKING:
    from anyrerank.ledger import By, Spend

_KEY = "key"
_OTHER_NAMES: Mapping[str, By] = {_KEY: "tag", "date": "day"}
"""Groupings of this command, and what the ledger calls them."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def spend(
    *,
    db: Annotated[
        str | None,
        typer.Option(
            help="The ledger: the path of its SQLite file, or its URL. Default: spend.db in this folder, else the "
            "database of the gateway: DATABASE_URL, or the file of this user.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Group by user, model, deployment, tag, key, day (or date) or provider. May be repeated. "
            "Default: user and model.",
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
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a line for each group.")] = False,
) -> None:
    """Show what was spent according to a ledger, highest cost first.

    Calls of the last second may not be in the database yet.

    Calls of a killed process appear when another ledger writes to the database.
    """
    with one_line_errors():
        from anyrerank.ledger import Filter, Store
        from anyrerank.ledger import table as spending

        asked = by or ["user", "model"]
        groups = _groups(asked)
        for option, text in (("--user", user), ("--tag", tag), ("--model", model)):
            _check_text(option, text)
        filter_ = Filter(since=_date("--since", since), until=_date("--until", until), user=user, tag=tag, model=model)
        with closing(Store(ledger_of(db), create=False)) as store:
            spends, (total,) = store.spend(groups, filter_), store.spend((), filter_)
            aliases = aliases_of(store.url) if "tag" in groups else {}
        if db is None:
            typer.echo(f"the ledger is {without_control_characters(str(store))}", err=True)
        if _KEY in asked:
            groups, spends = _of_keys(groups, spends, aliases)
        if json:
            typer.echo(as_json(spending.as_json(spends, total)))
            return
        if csv:
            typer.echo(spending.as_csv(groups, _printable(spends)), nl=False)
            return
        spends = _printable(_with_aliases(spends, aliases))
        if markdown:
            typer.echo(spending.markdown(groups, spends, total), nl=False)
            return
        _show(groups, spends, total)


def _groups(asked: Sequence[str]) -> tuple[By, ...]:
    """The groupings of the ledger for those of the command line, each once."""
    from anyrerank.ledger import By, checked

    names = (*get_args(By), *_OTHER_NAMES)
    if unknown := [each for each in asked if each not in names]:
        raise BadRequestError(f"--by must be one of {', '.join(names)}, got {unknown[0]!r}")
    return checked([_OTHER_NAMES.get(each, each) for each in asked])


def _show(groups: Sequence[By], spends: Sequence[Spend], total: Spend) -> None:
    """Print a table, without the columns for which the terminal has no room."""
    from anyrerank.ledger import table as spending

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


def _of_keys(
    groups: Sequence[By], spends: Sequence[Spend], aliases: Mapping[str, str]
) -> tuple[tuple[By, ...], list[Spend]]:
    """The rows whose tag is that of a key of the gateway, with its alias in place of the tag."""
    key = cast("By", _KEY)  # a grouping of this command alone

    def named(spend: Spend) -> Spend:
        tag = spend.group["tag"] or ""
        values = {key if by == "tag" else by: value for by, value in spend.group.items()}
        return replace(spend, group={**values, key: aliases.get(tag, tag)})

    of_keys = [spend for spend in spends if (spend.group["tag"] or "").startswith("key:")]
    return tuple(key if by == "tag" else by for by in groups), [named(spend) for spend in of_keys]


def _with_aliases(spends: Sequence[Spend], aliases: Mapping[str, str]) -> list[Spend]:
    """The rows with the alias of a key behind its tag."""
    found = []
    for spend in spends:
        tag = spend.group.get("tag")
        known = tag is not None and tag in aliases
        found.append(
            replace(spend, group={**spend.group, "tag": f"{tag} ({aliases[tag]})"}) if known and tag else spend
        )
    return found


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
