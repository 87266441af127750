"""The wheel and the sdist, built once."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import pytest
from tests.support.environments import install, run
from tests.support.pages import ROOT


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


@pytest.fixture(scope="session")
def wheel(sdist: Path) -> Path:
    """The wheel, built from the sdist."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", sdist.parent, cwd=sdist)
    (found,) = sdist.parent.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed, without what it requires."""
    site = tmp_path_factory.mktemp("installed")
    install(wheel, site)
    return site
