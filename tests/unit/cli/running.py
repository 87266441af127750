"""Running the command line, in this process and in a new one."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.harness import DOCUMENTS, QUERY
from typer.testing import CliRunner, Result

from anyrerank.cli import app

LINES = "\n".join(DOCUMENTS) + "\n"
RERANK = ["rerank", "--model", "local/lexical", "--query", QUERY]


def run(*arguments: str, stdin: str | bytes | None = None, columns: int | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin, env={"COLUMNS": str(columns)} if columns else None)


def run_process(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "anyrerank", *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(  # noqa: S603
        command, input=stdin, capture_output=True, encoding="utf-8", env=environment, timeout=120, check=False
    )


def error_of(result: Result) -> str:
    """The error of a command that failed: a single line, with no other output and no traceback."""
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr
