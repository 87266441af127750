"""The wheel and the sdist: what they hold, and that they work; and that extras and constraints agree."""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from tests.support.environments import link_requirements, run
from tests.support.pages import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = SETTINGS["project"]["optional-dependencies"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSTRAINTS = ("constraints.txt", "constraints-floors.txt")
NOT_IN_ALL = {"all", "guardrails", "haystack", "sentence-transformers"}


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    source = ROOT / "integrations"
    kept = (path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == {str(path.relative_to(source)) for path in kept}


def test_the_wheel_names_its_licences_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        files = {name.partition(".dist-info/")[2]: opened.read(name).decode() for name in opened.namelist()}
    licences = {name.removeprefix("licenses/") for name in files if name.startswith("licenses/")}
    assert licences == set(SETTINGS["project"]["license-files"])
    assert "anyrerank = anyrerank.__main__:main" in files["entry_points.txt"]


def test_every_link_of_the_description_works_on_its_own(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        (metadata,) = (opened.read(name).decode() for name in opened.namelist() if name.endswith("/METADATA"))
    assert "Description-Content-Type: text/markdown" in metadata
    description = metadata.partition("\n\n")[2]
    assert description.startswith("# anyrerank\n")
    assert re.findall(r"\]\((?!https:|#)[^)]*\)", description) == []


def test_the_wheel_reranks_with_the_dependencies_that_it_declares_alone(installed: Path, tmp_path: Path) -> None:
    link_requirements(installed, tmp_path / "requirements")
    code = f"""
import sys
sys.path += [{str(installed)!r}, {str(tmp_path / "requirements")!r}]
import anyrerank
response = anyrerank.rerank("local/lexical", "Which planet is red?", ["Venus is hot.", "Mars is the red planet."])
print(anyrerank.__file__, response.results[0].index, "langchain_core" in sys.modules)
"""
    printed = run(sys.executable, "-I", "-S", "-c", code, cwd=tmp_path)
    assert printed.split() == [str(installed / "anyrerank" / "__init__.py"), "1", "False"]


def test_the_sdist_holds_what_its_tests_need(sdist: Path) -> None:
    run("make", "--dry-run", "quick", cwd=sdist)
    some = ("tests/contract/test_layout.py", "tests/unit/test_catalog.py")
    assert " passed" in run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some, cwd=sdist)
    for page in ("README.md", "CONTRIBUTING.md", "SECURITY.md"):
        links = re.findall(r"\]\(((?!https?:|#)[^)#]+)", (sdist / page).read_text(encoding="utf-8"))
        assert [link for link in links if not (sdist / link).exists()] == []


def requirements() -> Iterator[tuple[str, Requirement]]:
    """Every requirement of another package, with the place that names it."""
    places = {"dependencies": SETTINGS["project"]["dependencies"], **EXTRAS, **SETTINGS["dependency-groups"]}
    for place, lines in places.items():
        for line in lines:
            requirement = Requirement(line)
            if requirement.name != "anyrerank" and place != "sentence-transformers":  # which is large, and not pinned
                yield place, requirement


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_requirement_is_pinned_to_a_version_that_it_allows(name: str) -> None:
    pins = [Requirement(line) for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    versions: dict[str, list[Version]] = {}
    for pin in pins:
        (clause,) = pin.specifier
        versions.setdefault(canonicalize_name(pin.name), []).append(Version(clause.version))
    wrong = [
        f"{place}: {requirement}"
        for place, requirement in requirements()
        if not any(map(requirement.specifier.contains, versions.get(canonicalize_name(requirement.name), [])))
    ]
    assert wrong == []


def test_every_extra_is_in_all_or_left_out_on_purpose() -> None:
    (of_all,) = (Requirement(line) for line in EXTRAS["all"])
    assert of_all.extras == EXTRAS.keys() - NOT_IN_ALL
    (said,) = re.findall(r"^\| `all` \| all but (.*) \|.*\|$", README, re.MULTILINE)
    assert set(re.findall(r"`([\w-]+)`", said)) == NOT_IN_ALL - {"all"}


def test_the_extras_that_an_extra_includes_exist() -> None:
    included = {name for lines in EXTRAS.values() for line in lines for name in _own_extras(Requirement(line))}
    assert included <= EXTRAS.keys()


def _own_extras(requirement: Requirement) -> set[str]:
    return requirement.extras if requirement.name == "anyrerank" else set()


def test_the_table_of_the_readme_lists_every_extra() -> None:
    table = re.search(r"^\| extra \|.*\n(?:\|.*\n)+", README, re.MULTILINE)
    assert table is not None
    assert set(re.findall(r"^\| `([\w-]+)` \|", table[0], re.MULTILINE)) == EXTRAS.keys()
