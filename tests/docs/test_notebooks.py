"""Every notebook runs from top to bottom, and is saved with its outputs and without traces of a machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tests.docs.notebooks import METADATA, NOTEBOOKS, code_cells, execute, read, read_source

MACHINE = re.compile(r"site-packages|ipykernel_\d+|[\"'\s(](?:/(?:home|root|tmp|work|Users)|[A-Z]:\\\\)")

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def problems(notebook: Any) -> list[str]:
    """Errors, and everything written to stderr, warnings included."""
    return [
        output.get("text") or output.get("evalue", "")
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def printed(notebook: Any) -> list[str]:
    return ["".join(out.text for out in cell.outputs if out.output_type == "stream") for cell in code_cells(notebook)]


@pytest.mark.notebook
def test_notebook_when_executed_prints_what_is_saved(path: Path, tmp_path: Path) -> None:
    notebook = read(path)
    saved = printed(notebook)
    execute(notebook, tmp_path)
    assert problems(notebook) == []
    assert printed(notebook) == saved, "saved outputs are outdated: run `python -m tests.docs.notebooks`"


def test_notebook_is_saved_as_it_ran(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert any("text/html" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs)
    assert problems(notebook) == []


def test_notebook_has_no_trace_of_a_machine(path: Path) -> None:
    assert MACHINE.findall(path.read_text(encoding="utf-8")) == []
    assert read(path).metadata == METADATA


def test_notebook_names_its_pip_command_in_the_first_cell(path: Path) -> None:
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert re.search(r"^    pip install 'anyrerank\[[a-z,-]+\]'", first.source, re.MULTILINE)


def test_notebook_equals_its_source(path: Path) -> None:
    cells, source = read(path).cells, read_source(path.with_suffix(".py")).cells
    assert [(cell.cell_type, cell.source) for cell in cells] == [(cell.cell_type, cell.source) for cell in source]
