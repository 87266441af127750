"""`anyrerank keys` and `anyrerank db`: administration of a gateway's database, without its master key."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from anyrerank.cli.databases import spent_by, window_of
from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.output import as_json, console, table, without_control_characters
from anyrerank.errors import BadRequestError, ConfigurationError

if TYPE_CHECKING:
    from anyrerank.gateway.keys import Key, LiteLLMKey, Store

T = TypeVar("T")

_MASTER_KEY = "LITELLM_MASTER_KEY"

keys = typer.Typer(
    help="Create, list and revoke keys of a gateway. A running gateway applies a change within a second.",
    no_args_is_help=True,
)
db = typer.Typer(help="The database of a gateway.", no_args_is_help=True)

_Database = Annotated[
    str | None,
    typer.Option(
        "--db",
        help="The database: sqlite:///path or a PostgreSQL URL. Default: DATABASE_URL, else the file of this user.",
        show_default=False,
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", help="A model that it may use; * stands for any text. May be repeated.", show_default=False
    ),
]
_MaxBudget = Annotated[
    float | None, typer.Option("--max-budget", help="US dollars that it may spend.", show_default=False)
]
_BudgetDuration = Annotated[
    str | None,
    typer.Option("--budget-duration", help="How often the budget starts anew, such as 30d.", show_default=False),
]
_Rpm = Annotated[int | None, typer.Option("--rpm", help="Requests per minute.", show_default=False)]
_Tpm = Annotated[int | None, typer.Option("--tpm", help="Tokens per minute.", show_default=False)]
_Parallel = Annotated[int | None, typer.Option("--parallel", help="Requests at the same time.", show_default=False)]
_EndUser = Annotated[
    str | None,
    typer.Option(
        "--end-user", help="The end user of all its calls, in place of the one they name.", show_default=False
    ),
]
_Named = Annotated[str, typer.Argument(help="The alias of a key, its token, or the key itself.", show_default=False)]


@keys.command()
def create(
    *,
    alias: Annotated[str | None, typer.Option(help="A name that no other key has.", show_default=False)] = None,
    model: _Models = None,
    max_budget: _MaxBudget = None,
    budget_duration: _BudgetDuration = None,
    rpm: _Rpm = None,
    tpm: _Tpm = None,
    parallel: _Parallel = None,
    duration: Annotated[
        str | None, typer.Option(help="How long it is valid, such as 90d. Default: no limit.", show_default=False)
    ] = None,
    end_user: _EndUser = None,
    database: _Database = None,
    json: _Json = False,
) -> None:
    """Create a key and print it. It is shown only once."""
    given = _given(
        key_alias=alias,
        models=model,
        max_budget=max_budget,
        budget_duration=budget_duration,
        rpm_limit=rpm,
        tpm_limit=tpm,
        max_parallel_requests=parallel,
        duration=duration,
        metadata=None if end_user is None else {"end_user": end_user},
    )
    with _store(database) as store:
        from anyrerank.gateway.keys import columns_of_key

        now = time.time()
        columns = _refusals(partial(columns_of_key, given, now))
        secret, key = _refusals(partial(store.create, columns, now))
    start = _next_start(key)
    typer.echo(as_json({"key": secret, **key.shown(), **start}) if json else secret)
    if not json and start["budget_reset_at"] is not None:
        typer.echo(f"its budget starts anew at {start['budget_reset_at']}", err=True)
    if not os.environ.get(_MASTER_KEY):
        typer.echo(
            f"keys count at a gateway with a master key: set {_MASTER_KEY} or general_settings.master_key", err=True
        )


@keys.command("import")
def import_(
    *,
    source: Annotated[
        str | None,
        typer.Option("--from", help="The database of LiteLLM's proxy. Default: the same as --db.", show_default=False),
    ] = None,
    database: _Database = None,
) -> None:
    """Take over the keys of a LiteLLM proxy from its database, so that clients keep theirs.

    Hash, alias, models, limits, budget and expiry stay the same. A budget that never starts anew is what is left of
    it; others begin with nothing spent. Keys that are restricted in a way that is not supported are left out. It may
    be repeated.
    """
    with _store(database) as store:
        from anyrerank.gateway.keys import Database, litellm_keys

        now = time.time()
        with closing(Database(_url(source or database))) as litellm:
            found = litellm_keys(litellm, now)
        done = [(each.name, each.reason or _added(store, each, now)) for each in found]
    for name, reason in done:
        if reason is not None:
            typer.echo(without_control_characters(f"left out: {name}: {reason}"))
    typer.echo(f"{sum(reason is None for _, reason in done)} of {len(done)} keys were taken over")


def _added(store: Store, key: LiteLLMKey, now: float) -> str | None:
    """Add a key, or return why it cannot be added."""
    from anyrerank.gateway.errors import GatewayError

    try:
        store.add(key.columns or {}, now)
    except GatewayError as error:
        return error.message
    return None


@keys.command("list")
def list_keys(*, database: _Database = None, json: _Json = False) -> None:
    """Show the keys, without their secrets."""
    with _store(database) as store:
        _, found, _ = store.all()
        spent = spent_by(found, store.database.url.render_as_string(hide_password=False))
    if json:
        typer.echo(as_json([{**each.shown(), "spend": spent.get(each.token), **_next_start(each)} for each in found]))
        return
    console().print(table(_HEAD, (_cells(each, spent.get(each.token)) for each in found)))
    typer.echo("Times are in UTC.")
    if any(each.key_alias is None for each in found):
        typer.echo("Some keys have no alias: --json shows their tokens, which the other commands take.")


@keys.command()
def update(
    *,
    key: _Named,
    model: _Models = None,
    max_budget: _MaxBudget = None,
    budget_duration: _BudgetDuration = None,
    rpm: _Rpm = None,
    tpm: _Tpm = None,
    parallel: _Parallel = None,
    duration: Annotated[
        str | None, typer.Option(help="How long it is valid from now on, such as 90d; -1 for ever.", show_default=False)
    ] = None,
    end_user: _EndUser = None,
    database: _Database = None,
) -> None:
    """Change what a key may do. What is not given stays; `POST /key/update` can also remove a limit."""
    given = _given(
        models=model,
        max_budget=max_budget,
        budget_duration=budget_duration,
        rpm_limit=rpm,
        tpm_limit=tpm,
        max_parallel_requests=parallel,
        duration=duration,
        metadata=None if end_user is None else {"end_user": end_user},
    )
    if not given:
        raise typer.BadParameter("give at least one option that changes the key")
    from anyrerank.gateway.keys import columns_of_key

    _change(database, key, _refusals(partial(columns_of_key, given, time.time())), "changed")


@keys.command()
def block(*, key: _Named, database: _Database = None) -> None:
    """Refuse a key until it is unblocked."""
    _change(database, key, {"blocked": True}, "blocked")


@keys.command()
def unblock(*, key: _Named, database: _Database = None) -> None:
    """Let a key in again."""
    _change(database, key, {"blocked": False}, "unblocked")


@keys.command()
def regenerate(*, key: _Named, database: _Database = None) -> None:
    """Give a key a new secret and print it: the old one is refused; limits, budget and spend stay."""
    with _store(database) as store:
        from anyrerank.gateway.keys import new_secret

        secret = new_secret()
        if store.regenerate(_token(store, key), {}, time.time(), secret) is None:
            raise _unknown()
    typer.echo(secret)


@keys.command()
def revoke(*, key: _Named, database: _Database = None) -> None:
    """Delete a key: it is refused from then on."""
    with _store(database) as store:
        from anyrerank.gateway.keys import token_of

        deleted = store.delete([token_of(key)], [key], time.time())
        if not deleted:
            raise _unknown()
    typer.echo(f"revoked {', '.join(each.key_name for each in deleted)}")


@db.command()
def upgrade(*, database: _Database = None) -> None:
    """Bring the tables of a database to the version of this release."""
    with one_line_errors(), _database_errors():
        from anyrerank.gateway.keys import Database

        with closing(Database(_url(database))) as opened:
            version = opened.upgrade()
    typer.echo(f"the database has version {version}")


def _change(database: str | None, key: str, columns: dict[str, Any], done: str) -> None:
    """Change a key, and print what was done."""
    with _store(database) as store:
        changed = _refusals(lambda: store.update(_token(store, key), columns, time.time()))
        if changed is None:
            raise _unknown()
    typer.echo(f"{done} {changed.key_name}")


def _token(store: Store, key: str) -> str:
    """The token of the key with an alias, or else of a key or token."""
    from anyrerank.gateway.keys import token_of

    _, found, _ = store.all()
    return next((each.token for each in found if each.key_alias == key), token_of(key))


def _unknown() -> BadRequestError:
    return BadRequestError("there is no such key: `anyrerank keys list` shows them")


def _given(**fields: Any) -> dict[str, Any]:
    """The fields of a key that are given, by LiteLLM's names."""
    return {name: value for name, value in fields.items() if value is not None}


_HEAD = ("alias", "key", "models", "spent", "budget", "starts anew", "rpm", "tpm", "parallel", "expires", "blocked")
_MINUTE = "%Y-%m-%d %H:%M"


def _next_start(key: Key) -> dict[str, str | None]:
    """When the budget of a key starts anew, as LiteLLM shows it."""
    ends = window_of(key)[1]
    return {"budget_reset_at": None if ends is None else datetime.fromtimestamp(ends, timezone.utc).isoformat()}


def _cells(key: Key, spent: float | None) -> tuple[str, ...]:
    from anyrerank._core.pricing import dollars_text

    limit = key.max_budget
    budget = "" if limit is None else f"{dollars_text(limit)} {key.budget_duration or ''}".strip()
    cells: tuple[Any, ...] = (
        key.key_alias,
        key.key_name,
        ", ".join(key.models) or "all",
        None if spent is None else dollars_text(spent),
        budget,
        _minute(window_of(key)[1]),
        key.rpm_limit,
        key.tpm_limit,
        key.max_parallel_requests,
        _minute(key.expires),
        "yes" if key.blocked else "",
    )
    return tuple("" if each is None else without_control_characters(str(each)) for each in cells)


def _minute(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).strftime(_MINUTE)


def _url(given: str | None) -> str:
    from anyrerank.gateway.keys import checked_url, default_url

    return checked_url(given or os.environ.get("DATABASE_URL") or default_url())


@contextmanager
def _store(given: str | None) -> Iterator[Store]:
    with one_line_errors(), _database_errors():
        from anyrerank.gateway.keys import Database, Store

        with closing(Database(_url(given))) as database:
            database.prepare()
            yield Store(database)


@contextmanager
def _database_errors() -> Iterator[None]:
    from anyrerank.gateway.keys import DatabaseError

    try:
        yield
    except DatabaseError as error:
        raise ConfigurationError(str(error)) from None


def _refusals(work: Callable[[], T]) -> T:
    """Raise errors for clients of the gateway as errors of the command line."""
    from anyrerank.gateway.errors import GatewayError

    try:
        return work()
    except GatewayError as error:
        raise BadRequestError(error.message) from None
