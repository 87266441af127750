"""Environments with an installed wheel and what it requires, linked from the environment of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, which must end well; it finds the packages under `integrations` in its folder."""
    environment = {**os.environ, "PYTHONPATH": str(cwd / "integrations")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(wheel: Path, site: Path) -> None:
    """Install a wheel alone."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target")
    run(*pip, site, wheel, cwd=wheel.parent)


def link_requirements(installed: Path, into: Path, extras: Collection[str] = ()) -> None:
    """Link what the package in the folder `installed` requires with `extras`, and nothing else, into a folder."""
    (package,) = distributions(name="anyrerank", path=[str(installed)])
    into.mkdir(exist_ok=True)
    for name in required(package, extras):
        _link(distribution(name), into)


def required(package: Distribution, extras: Collection[str]) -> set[str]:
    """The names of what a package requires with `extras`, and of what that requires."""
    found: set[tuple[str, str]] = set()
    waiting = [(package, extra) for extra in ("", *extras)]
    while waiting:
        of, with_extra = waiting.pop()
        for requirement in _requirements(of, with_extra):
            name = canonicalize_name(requirement.name)
            for extra in ("", *requirement.extras):
                if (name, extra) not in found:
                    found.add((name, extra))
                    waiting.append((package if name == "anyrerank" else distribution(name), extra))
    return {name for name, _ in found} - {"anyrerank"}


def _requirements(of: Distribution, extra: str) -> Iterator[Requirement]:
    for requirement in map(Requirement, of.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _link(installed: Distribution, site: Path) -> None:
    """Link the files of a distribution; a package that belongs to it alone as one folder."""
    for file in installed.files or ():
        if ".." in file.parts or "__pycache__" in file.parts:
            continue
        shared = len(file.parts) > 1 and not Path(str(installed.locate_file(file.parts[0] + "/__init__.py"))).exists()
        kept = Path(*file.parts) if shared else Path(file.parts[0])
        link = site / kept
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(installed.locate_file(kept))))
