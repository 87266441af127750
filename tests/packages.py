"""Installs the wheel with each extra into a fresh environment, tries it there, and measures it: `make packages`.

The sums of the sizes of all files, with what pip compiles, are the figures of the README's table.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.environments import run
from tests.support.extras import FILES, PROMISES, TOGETHER
from tests.support.pages import ROOT

TOLERANCE = 0.1
_ROW = re.compile(r"^\| (?:`([\w-]+)`|none) \|.*\| (\d+) \|$", flags=re.MULTILINE)


def listed() -> dict[str, int]:
    """The MB of each extra in the README; "" stands for none."""
    return {extra: int(size) for extra, size in _ROW.findall((ROOT / "README.md").read_text(encoding="utf-8"))}


def tried(wheel: Path, extra: str) -> Iterator[str]:
    """Install an extra in an environment of its own, and yield what is wrong with it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = environment(folder / "environment", wheel, {extra} - {""})
        size = megabytes(folder / "environment")
        sys.stdout.write(f"{extra or 'none':<14} {size:6.0f} MB\n")
        if abs(size - listed()[extra]) > 1 + TOLERANCE * size:
            yield f"{extra or 'none'} has {size:.0f} MB, and {listed()[extra]} in the table of the README"
        if extra not in PROMISES:
            return
        if extra in TOGETHER:
            python = environment(folder / "together", wheel, {extra, *TOGETHER[extra]})
        for file, text in FILES.items():
            (folder / file).write_text(text, encoding="utf-8")
        variables = {"PATH": os.environ["PATH"], "HOME": name, "AWS_EC2_METADATA_DISABLED": "true"}
        command = [str(python), "-c", PROMISES[extra]]
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            yield f"{extra} does not work: {done.stdout}{done.stderr}"


def environment(folder: Path, wheel: Path, extras: set[str]) -> Path:
    """The interpreter of a new environment with the wheel and the pinned versions of what it requires."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=ROOT)
    python = folder / "bin" / "python"
    wanted = f"{wheel}[{','.join(sorted(extras))}]" if extras else str(wheel)
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--constraint", ROOT / "constraints.txt", wanted, cwd=ROOT)
    return python


def megabytes(folder: Path) -> float:
    """The sum of the sizes of all files."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> int:
    """Try every extra, and return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT)
        (wheel,) = Path(folder).glob("*.whl")
        problems = [problem for extra in listed() for problem in tried(wheel, extra)]
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
