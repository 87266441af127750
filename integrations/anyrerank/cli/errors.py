"""Errors as one line on standard error."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from anyrerank.cli.output import without_control_characters
from anyrerank.errors import MissingExtraError, RerankError

_ALONE = re.compile(r"anyrerank\[(?!all|demo|gateway)([\w-]+)\]")
"""An extra in an error that installs neither the command line nor the gateway."""


@contextmanager
def one_line_errors(status: int = 1, *, extra: str = "cli") -> Iterator[None]:
    """Print a `RerankError` as one line and exit with `status`.

    Args:
        status: The exit status.
        extra: What the command needs itself. The advice for an extra that is missing names it too, or a new environment
            would lack it.
    """
    try:
        yield
    except MissingExtraError as error:
        print_error(_ALONE.sub(rf"anyrerank[{extra},\1]", str(error)))
        raise typer.Exit(status) from None
    except RerankError as error:
        print_error(str(error))
        raise typer.Exit(status) from None


def print_error(message: str) -> None:
    """Print one line, whatever the message contains."""
    typer.echo(f"error: {without_control_characters(' '.join(message.split()))}", err=True)


def close_broken_stdout() -> None:
    """Close standard output if it cannot be flushed, or Python would try again at exit and print a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()
