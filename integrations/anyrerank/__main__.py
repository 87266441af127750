"""`anyrerank` and `python -m anyrerank`."""

from __future__ import annotations

import io
import logging
import sys

_EXTRAS = {
    "compare": "cli,evaluation",
    "db": "gateway",
    "demo": "demo",
    "keys": "gateway",
    "serve": "gateway",
    "spend": "cli,ledger",
}
"""What the commands need that do not work with the extra `cli` alone."""


def main() -> None:
    """Run the command line, or explain how to install it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that a pipe cannot encode becomes "?"
    try:
        from anyrerank.cli import app
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("typer", "rich"):
            raise
        extras = _EXTRAS.get(sys.argv[1] if len(sys.argv) > 1 else "", "cli")
        sys.stderr.write(f"error: the command line needs {missing}: pip install 'anyrerank[{extras}]'\n")
        raise SystemExit(1) from None
    logging.getLogger("anyrerank").addHandler(_warnings())
    app(prog_name="anyrerank")


def _warnings() -> logging.Handler:
    """Print warnings, except the records of failed calls, which the commands report themselves."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    handler.addFilter(lambda record: not hasattr(record, "anyrerank"))
    return handler


if __name__ == "__main__":
    main()
