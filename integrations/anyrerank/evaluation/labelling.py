"""Labelling by hand: a file of labels, and pairs of rankings shown without their names."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyrerank.errors import BadRequestError
from anyrerank.evaluation.agreement import agreement
from anyrerank.evaluation.files import read_labels
from anyrerank.evaluation.outcomes import Outcomes


class LabelFile:
    """Labels in BEIR's format, saved after every change, so that a crash of the kernel loses none.

    Args:
        path: The file. Labels that it already has are kept.

    Attributes:
        grades: Grades by query and document.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        labels = read_labels(self._path) if self._path.exists() else {}
        self.grades = {query: dict(grades) for query, grades in labels.items()}

    def set_grade(self, query: str, document: str, grade: int) -> None:
        """Set the grade of a document for a query, and save the file."""
        self.grades.setdefault(query, {})[document] = grade
        rows = [
            f"{query}\t{document}\t{grade}\n"
            for query, grades in self.grades.items()
            for document, grade in grades.items()
        ]
        temporary = self._path.with_name(f"{self._path.name}.part")
        temporary.write_text("query-id\tcorpus-id\tscore\n" + "".join(rows), encoding="utf-8")
        temporary.replace(self._path)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """The top results of two rankings for a query, without the names of the rankings.

    Attributes:
        query: Id of the query.
        left, right: Document ids, best first.
    """

    query: str
    left: Sequence[str]
    right: Sequence[str]


def side_by_side(outcomes: Mapping[str, Outcomes], k: int, *, seed: int = 0) -> list[SideBySide]:
    """Pair the top results of two rankings for every query, least agreement first, with random sides.

    Args:
        outcomes: Two rankings, by name.
        k: Number of results of each.
        seed: Seed of the sides.

    Raises:
        BadRequestError: There are not exactly two rankings.
    """
    if len(outcomes) != 2:
        raise BadRequestError(f"labelling side by side needs two rankings, got {len(outcomes)}")
    rng = random.Random(seed)  # noqa: S311  the same sides every time, not a secret
    pages = []
    for query in agreement(outcomes, k).queries_by_disagreement:
        tops = [list(each[query].ranking[:k]) for each in outcomes.values()]
        rng.shuffle(tops)
        pages.append(SideBySide(query=query, left=tops[0], right=tops[1]))
    return pages
