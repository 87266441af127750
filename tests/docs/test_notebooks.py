"""Every notebook runs from top to bottom, and is saved with its outputs and without traces of a machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jupytext
import matplotlib.font_manager  # noqa: F401  looks for fonts here, or a notebook would, and say so
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
MACHINE = re.compile(r"site-packages|ipykernel_\d+|[\"'\s(](?:/(?:home|root|tmp|work|Users)|[A-Z]:\\\\)")

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def complaints(notebook: Any) -> list[str]:
    """Errors and whatever was written to stderr, warnings among it."""
    return [
        output.get("text") or output.get("evalue", "")
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def printed(notebook: Any) -> list[str]:
    return ["".join(out.text for out in cell.outputs if out.output_type == "stream") for cell in code_cells(notebook)]


@pytest.mark.notebook
def test_it_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    notebook = read(path)
    saved = printed(notebook)
    for cell in code_cells(notebook):
        cell.outputs = []
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert complaints(notebook) == []
    assert printed(notebook) == saved, "what is printed differs from what is saved: run the notebook and save it again"


def test_it_is_saved_as_it_ran(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert any("text/html" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs)
    assert complaints(notebook) == []


def test_it_shows_no_machine(path: Path) -> None:
    assert MACHINE.findall(path.read_text(encoding="utf-8")) == []
    assert set(read(path).metadata) == {"kernelspec", "language_info"}


def test_it_is_its_source(path: Path) -> None:
    notebook, source = read(path), jupytext.read(path.with_suffix(".py"), fmt="py:percent")
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in source.cells
    ]
