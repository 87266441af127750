"""The layers of the package: what may be imported from where, and their pictures in CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import anyrerank

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(str(anyrerank.__file__)).parent
ROOT = PACKAGE.parents[1]
PACKAGES = (
    *(
        f"anyrerank.{parent}.{path.name}"
        for parent in ("_core", "gateway")
        for path in (PACKAGE / parent).iterdir()
        if (path / "__init__.py").exists()
    ),
    *(
        f"anyrerank.{name}"
        for name in (
            "_adapters",
            "batch",
            "cache",
            "cli",
            "demo",
            "evaluation",
            "haystack",
            "langchain",
            "ledger",
            "llama_index",
            "state",
            "telemetry",
        )
    ),
    "anyrerank.providers._base",
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_other_packages_are_imported_from_their_init_only(path: Path) -> None:
    mine = f"{module_of(path)}."
    past = [
        (package, target)
        for target in imports_of(path)
        for package in PACKAGES
        if target.startswith(f"{package}.") and not mine.startswith(f"{package}.")
    ]
    assert past == []


def layers_of(contract: str) -> list[str]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers: list[str]
    (layers,) = (each["layers"] for each in contracts if each["name"] == contract)
    return layers


@pytest.mark.parametrize(("top", "contract"), [("__main__", "layers"), ("server", "layers of the gateway")])
def test_a_picture_shows_the_layers_of_an_import_contract(top: str, contract: str) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (picture,) = re.findall(rf"```text\n({top}\b.*?)```", page, re.DOTALL)
    shown = [re.split(r"\s{2,}", line)[0] for line in picture.strip().splitlines()]
    assert shown == layers_of(contract)


def test_the_package_has_few_entries_and_no_file_is_long() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 25
    files = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_public_classes_show_their_public_path() -> None:
    for name in set(anyrerank.__all__) - {"__version__", "Document"}:
        value = getattr(anyrerank, name)
        assert "._" not in value.__module__ or not isinstance(value, type), name
