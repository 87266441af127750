"""The notebook widget for labelling by hand."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyrerank._core.runtime import import_optional
from anyrerank._core.types import text_of
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.labelling import LabelFile, SideBySide, side_by_side
from anyrerank.evaluation.outcomes import Outcomes

_GRADES = {"no": 0, "in part": 1, "mostly": 2, "fully": 3}
"""Answers to the question whether a document answers the query."""


def label(data: Dataset, outcomes: Mapping[str, Outcomes], path: str | Path, *, k: int = 5, seed: int = 0) -> Any:
    """Return a widget to label the top results of two rankings, query by query (extra `notebook`).

    The widget shows two columns of documents, on random sides and without the names of the rankings. Every grade is
    saved at once. When you are done, `dataclasses.replace(data, labels=read_labels(path))` is ready for `compare`.

    Args:
        data: The dataset.
        outcomes: Two rankings by name, as in the result of `collect`.
        path: The file to save labels to, in BEIR's format. Labels that it already has are kept.
        k: Number of results of each ranking.
        seed: Seed of the sides.

    Raises:
        BadRequestError: There are not exactly two rankings, or the file is malformed.
        ConfigurationError: ipywidgets is missing.
    """
    return _Pages(data, side_by_side(outcomes, k, seed=seed), LabelFile(path)).box


class _Pages:
    """One page for each query, with buttons to turn them."""

    def __init__(self, data: Dataset, pages: Sequence[SideBySide], labels: LabelFile) -> None:
        self._widgets = import_optional("ipywidgets", "notebook")
        self._data, self._pages, self._labels = data, pages, labels
        self._index = 0
        self.box = self._widgets.VBox()
        self._show()

    def _show(self) -> None:
        page, widgets = self._pages[self._index], self._widgets
        query = html.escape(self._data.queries[page.query])
        title = f"<b>{query}</b> &nbsp; query {self._index + 1} of {len(self._pages)}: do these documents answer it?"
        columns = widgets.HBox([self._column(page.query, page.left), self._column(page.query, page.right)])
        buttons = widgets.HBox([self._button("back", -1), self._button("next", 1, button_style="primary")])
        self.box.children = [widgets.HTML(title), columns, buttons]

    def _button(self, description: str, step: int, **style: str) -> Any:
        button = self._widgets.Button(description=description, **style)
        button.on_click(lambda _: self._turn(step))
        return button

    def _turn(self, step: int) -> None:
        self._index = min(max(0, self._index + step), len(self._pages) - 1)
        self._show()

    def _column(self, query: str, documents: Sequence[str]) -> Any:
        rows = [each for document in documents for each in (self._text(document), self._grading(query, document))]
        return self._widgets.VBox(rows, layout={"width": "50%", "padding": "0 12px"})

    def _text(self, document: str) -> Any:
        text = html.escape(text_of(self._data.documents[document], None))
        return self._widgets.HTML(f"<div style='max-width:34em;line-height:1.35'>{text}</div>")

    def _grading(self, query: str, document: str) -> Any:
        grade = self._labels.grades.get(query, {}).get(document)
        chosen = next((name for name, each in _GRADES.items() if each == grade), None)
        buttons = self._widgets.ToggleButtons(options=list(_GRADES), value=chosen, style={"button_width": "64px"})
        buttons.observe(self._save(query, document), names="value")
        return buttons

    def _save(self, query: str, document: str) -> Callable[[Mapping[str, Any]], None]:
        return lambda change: self._labels.set_grade(query, document, _GRADES[change["new"]])
