"""The `anyrerank` application, with its commands and its `--version`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import anyrerank
from anyrerank.cli.batch import batch
from anyrerank.cli.check import check
from anyrerank.cli.compare import compare
from anyrerank.cli.demo import demo
from anyrerank.cli.errors import close_broken_stdout, print_error
from anyrerank.cli.keys import db, keys
from anyrerank.cli.providers import providers
from anyrerank.cli.rerank import rerank
from anyrerank.cli.serve import serve
from anyrerank.cli.spend import spend


class _Commands(TyperGroup):
    """Reports output that cannot be written in one line, for the help and the version too."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            close_broken_stdout()
            print_error(f"{error.filename or 'cannot write the output'}: {error.strerror or type(error).__name__}")
            sys.exit(1)


app = typer.Typer(
    cls=_Commands,
    help="Rerank documents through any provider.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, which may hold a key
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"anyrerank {anyrerank.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for _command in (demo, rerank, check, compare, batch, providers, serve, spend):
    app.command()(_command)

app.add_typer(keys, name="keys")
app.add_typer(db, name="db")
