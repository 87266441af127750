"""What all commands share: version, help, light imports, and errors in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.running import LINES, RERANK, run, run_process
from typer.testing import CliRunner

import anyrerank
from anyrerank import __main__
from anyrerank.cli import app


def test_version_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"anyrerank {anyrerank.__version__}\n"


def test_app_without_a_command_lists_the_commands() -> None:
    shown = run().output
    assert all(command in shown for command in ("demo", "rerank", "providers", "spend", "compare"))


@pytest.mark.parametrize(
    ("typed", "completed"), [("anyrerank prov", "providers"), ("anyrerank serve --wor", "--workers")]
)
def test_a_shell_can_complete_commands_and_options(typed: str, completed: str) -> None:
    count = str(len(typed.split()) - 1)
    variables = {"COMP_WORDS": typed, "COMP_CWORD": count, "_ANYRERANK_COMPLETE": "complete_bash"}
    assert CliRunner().invoke(app, env=variables, prog_name="anyrerank").stdout.split() == [completed]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("demo", "--model"),
        ("rerank", "--model"),
        ("providers", "--json"),
        ("spend", "--since"),
        ("compare", "--baseline"),
    ],
)
def test_help_shows_the_options(command: str, option: str) -> None:
    result = run(command, "--help", columns=120)
    assert result.exit_code == 0
    assert option in result.stdout


@pytest.mark.process
def test_process_prints_results_and_no_warnings() -> None:
    done = run_process(*RERANK, "--top-n", "1", stdin=LINES)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("local/lexical · 1 result")


@pytest.mark.process
def test_process_with_a_missing_key_prints_one_line() -> None:
    done = run_process("rerank", "--model", "cohere/any", "--query", "anything", stdin=LINES)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "COHERE_API_KEY" in done.stderr


@pytest.mark.process
def test_main_prints_warnings_but_no_records_of_calls() -> None:
    code = (
        "import logging, sys\n"
        "from anyrerank.__main__ import main\n"
        "sys.argv = ['anyrerank', '--version']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "logging.getLogger('anyrerank').warning('careful')\n"
        "logging.getLogger('anyrerank').warning('a call', extra={'anyrerank': {}})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stderr == "warning: careful\n"


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["providers"], ["providers", "--json"], [*RERANK, "-"]], ids=" ".join
)
def test_process_with_a_full_disk_prints_one_line(arguments: list[str]) -> None:
    command = [sys.executable, "-W", "error", "-m", "anyrerank", *arguments]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(  # noqa: S603
            command, env=buffered, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"error: cannot write the output: No space left on device\n")


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_process_with_closed_input_prints_one_line() -> None:
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "anyrerank", *RERANK],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"no standard input" in done.stderr


@pytest.mark.process
def test_importing_the_command_line_loads_no_framework() -> None:
    code = (
        "import sys, anyrerank.cli\n"
        "heavy = ('langchain_core', 'llama_index', 'sklearn', 'sqlalchemy', 'numpy', 'anyrerank.demo',\n"
        "         'anyrerank.evaluation', 'anyrerank.ledger', 'anyrerank.catalog')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("command", "extras"), [("", "cli"), ("rerank", "cli"), ("spend", "cli,ledger"), ("serve", "gateway")]
)
@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_main_without_its_extra_names_the_install_command(
    missing: str, command: str, extras: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["anyrerank", command])
    for loaded in [name for name in sys.modules if name.startswith("anyrerank.cli")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.delitem(sys.modules, "rich.console", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as stopped:
        __main__.main()
    shown = capsys.readouterr()
    assert (stopped.value.code, shown.out) == (1, "")
    assert f"pip install 'anyrerank[{extras}]'" in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "missing", "install"),
    [
        (["serve"], "starlette", "anyrerank[gateway]"),
        (["keys", "list"], "starlette", "anyrerank[gateway]"),
        (["db", "upgrade"], "starlette", "anyrerank[gateway]"),
        (["serve"], "uvicorn", "anyrerank[gateway]"),
        (["spend"], "sqlalchemy", "anyrerank[cli,ledger]"),
        (["compare", "local/lexical"], "ir_measures", "anyrerank[cli,evaluation]"),
        (["compare", "local/lexical"], "numpy", "anyrerank[cli,evaluation]"),
    ],
)
def test_command_without_its_extra_names_the_install_command(arguments: list[str], missing: str, install: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from anyrerank.__main__ import main; main()"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert f"pip install '{install}'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.process
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(("typed", "completed"), [("prov", "providers"), ("providers --mark", "--markdown")])
def test_bash_completes_what_is_typed(typed: str, completed: str, tmp_path: Path) -> None:
    command = tmp_path / "anyrerank"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anyrerank "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    script = f"""
        source <(anyrerank --show-completion)
        COMP_WORDS=(anyrerank {typed}) COMP_CWORD={len(typed.split())}
        _anyrerank_completion anyrerank
        echo "${{COMPREPLY[@]}}"
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(  # noqa: S603
        ["bash", "-c", script],  # noqa: S607
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{completed}\n", "")
