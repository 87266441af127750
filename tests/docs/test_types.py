"""The Python blocks of the documentation pass mypy and pyright in their strict modes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.support.pages import PAGES, READER, ROOT, modules

Checker: TypeAlias = Callable[[Path], list[str]]

pytestmark = [pytest.mark.slow, pytest.mark.process]


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(folder: Path) -> list[str]:
    """Complaints as `file.py:line message`, with the options of the project, which are stricter than `--strict`."""
    files = sorted(map(str, folder.glob("*.py")))
    output = run("mypy", "--no-error-summary", "--hide-error-context", *files, MYPYPATH=str(folder))
    return [re.sub(r"^.*/(\w+\.py:\d+): \w+:", r"\1", line) for line in output.splitlines() if ": error:" in line]


def pyright(folder: Path) -> list[str]:
    """Complaints as `file.py:line message`, in pyright's strict mode."""
    settings = {
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "extraPaths": [str(ROOT / "integrations"), str(folder)],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    output = run("basedpyright", "--project", str(folder), "--pythonpath", sys.executable, "--outputjson")
    found: list[dict[str, Any]] = json.loads(output)["generalDiagnostics"]
    return [
        f"{Path(each['file']).name}:{each['range']['start']['line'] + 1} {each['message']}"
        for each in found
        if each["severity"] == "error"
    ]


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_every_python_block_passes_a_strict_check(checker: Checker, tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(READER, encoding="utf-8")
    for page in PAGES:
        for name, source in modules(page).items():
            (tmp_path / name).write_text(source, encoding="utf-8")
    assert checker(tmp_path) == []


def test_a_block_that_is_wrong_is_found_at_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nimport anyrerank\n\nanyrerank.rerank(3)\n```\n", encoding="utf-8")
    ((name, source),) = modules(page).items()
    (tmp_path / name).write_text(source, encoding="utf-8")
    for checker in (mypy, pyright):
        assert {complaint.split()[0] for complaint in checker(tmp_path)} == {f"{name}:6"}


def test_pyright_agrees_with_mypy_about_the_public_interface(tmp_path: Path) -> None:
    """mypy has checked these files already, each `type: ignore` of which must be needed."""
    for file in (ROOT / "tests" / "typing").glob("*.py"):
        shutil.copy(file, tmp_path)
    assert pyright(tmp_path) == []
