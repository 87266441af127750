"""Labels made in a notebook: two rankings side by side, in an order of chance and without their names."""

from __future__ import annotations

import html
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyrerank._core.runtime import needed
from anyrerank._core.types import text_of
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.agreement import agreement
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.files import read_labels
from anyrerank.evaluation.outcomes import Outcomes

GRADES = {"no": 0, "in part": 1, "mostly": 2, "fully": 3}
"""What can be said of a document: how far it answers the query."""


@dataclass(kw_only=True)
class Labels:
    """Labels in the making; each is in the file as soon as it is given, so a kernel that dies loses none.

    Attributes:
        path: A file in BEIR's form; what it holds already is kept.
        grades: By query and document.
    """

    path: Path
    grades: dict[str, dict[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        there = self.path.exists()
        self.grades = {query: dict(grades) for query, grades in read_labels(self.path).items()} if there else {}

    def give(self, query: str, document: str, grade: int) -> None:
        """Say how far a document answers a query, and write it down."""
        self.grades.setdefault(query, {})[document] = grade
        rows = [
            f"{query}\t{document}\t{grade}\n"
            for query, grades in self.grades.items()
            for document, grade in grades.items()
        ]
        beside = self.path.with_name(f"{self.path.name}.part")
        beside.write_text("query-id\tcorpus-id\tscore\n" + "".join(rows), encoding="utf-8")
        beside.replace(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """One query as it is shown: the first results of two rankings, which is which nobody knows.

    Attributes:
        query: Its id.
        left, right: Ids of documents, best first.
    """

    query: str
    left: Sequence[str]
    right: Sequence[str]


def sides(outcomes: Mapping[str, Outcomes], k: int, *, seed: int = 0) -> list[Sides]:
    """Every query, the most disputed first; which of the two rankings is on the left is left to chance.

    Args:
        outcomes: Two rankings, by name.
        k: How many results of each.
    """
    if len(outcomes) != 2:
        raise BadRequestError("side by side takes two rankings, by name")
    order = random.Random(seed)  # noqa: S311  nobody is to be surprised
    found = []
    for query in agreement(outcomes, k).disputed:
        shown = [list(each[query].ranking[:k]) for each in outcomes.values()]
        order.shuffle(shown)
        found.append(Sides(query=query, left=shown[0], right=shown[1]))
    return found


def label(data: Dataset, outcomes: Mapping[str, Outcomes], path: str | Path, *, k: int = 5, seed: int = 0) -> Any:
    """A widget to label the first results of two rankings, query by query (ipywidgets, in the extra `notebook`).

    The rankings have no names in it and change sides by chance. Grades are saved to `path` as they are given; when
    they are done, `replace(data, labels=read_labels(path))` is what `compare` needs.

    Args:
        data: Texts.
        outcomes: Two rankings, by name, as `collect` gives them.
        path: Where labels go, in BEIR's form; those that are there already are kept.
        k: How many results of each.
        seed: Of which is on the left.
    """
    widgets = needed("ipywidgets", "evaluation")
    labels, pages = Labels(path=Path(path)), sides(outcomes, k, seed=seed)
    box = widgets.VBox()
    place = 0

    def turn(step: int) -> Callable[[object], None]:
        def turned(_: object) -> None:
            nonlocal place
            place = min(max(0, place + step), len(pages) - 1)
            show()

        return turned

    def graded(query: str, document: str) -> Callable[[Mapping[str, Any]], None]:
        return lambda change: labels.give(query, document, GRADES[change["new"]])

    def column(page: Sides, documents: Sequence[str]) -> Any:
        rows = []
        for document in documents:
            known = labels.grades.get(page.query, {}).get(document)
            chosen = next((name for name, grade in GRADES.items() if grade == known), None)
            buttons = widgets.ToggleButtons(options=list(GRADES), value=chosen, style={"button_width": "64px"})
            buttons.observe(graded(page.query, document), names="value")
            text = html.escape(text_of(data.documents[document], None))
            rows += [widgets.HTML(f"<div style='max-width:34em;line-height:1.35'>{text}</div>"), buttons]
        return widgets.VBox(rows, layout={"width": "50%", "padding": "0 12px"})

    def show() -> None:
        page = pages[place]
        back, on = widgets.Button(description="back"), widgets.Button(description="next", button_style="primary")
        back.on_click(turn(-1))
        on.on_click(turn(1))
        title = f"<b>{html.escape(data.queries[page.query])}</b> &nbsp; {place + 1} of {len(pages)}: does it answer?"
        columns = widgets.HBox([column(page, page.left), column(page, page.right)])
        box.children = [widgets.HTML(title), columns, widgets.HBox([back, on])]

    show()
    return box
