"""The installed wheel with and without each extra: with it, it does what the extra is for; without it, it says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes.test_packages import EXTRAS
from tests.support.environments import link_requirements
from tests.support.extras import FILES, PROMISES, TOGETHER

NOT_HERE = {"sentence-transformers"}  # torch is too large for the environment of the tests
if sys.version_info >= (3, 14):
    NOT_HERE.add("guardrails")

pytestmark = [pytest.mark.slow, pytest.mark.process]


def kept(installed: Path, extra: str, folder: Path, *, extras: set[str]) -> subprocess.CompletedProcess[str]:
    """Run the promise of an extra in an environment with the wheel and what it requires with `extras` alone."""
    requirements = folder / "requirements"
    link_requirements(installed, requirements, extras)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    paths = [str(installed), str(requirements)]
    code = f"import sys; sys.path += {paths!r}\n{PROMISES[extra]}"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def test_every_extra_has_a_promise() -> None:
    assert PROMISES.keys() == EXTRAS.keys() - {"all"}


@pytest.mark.parametrize("extra", sorted(PROMISES.keys() - NOT_HERE))
def test_an_extra_installs_what_it_is_for(installed: Path, extra: str, tmp_path: Path) -> None:
    done = kept(installed, extra, tmp_path, extras={extra, *TOGETHER.get(extra, ())})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("extra", sorted(PROMISES))
def test_without_it_the_error_is_the_command_that_installs_it(installed: Path, extra: str, tmp_path: Path) -> None:
    done = kept(installed, extra, tmp_path, extras={*TOGETHER.get(extra, ())})
    assert done.returncode == 1
    assert re.findall(r"pip install '(anyrerank\[.*?\])'", done.stderr)[-1] == f"anyrerank[{extra}]"
