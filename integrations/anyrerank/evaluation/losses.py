"""The queries that a reranker made worse, side by side."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyrerank._core.types import text_of

if TYPE_CHECKING:
    from anyrerank.evaluation.report import Report

_SNIPPET = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A candidate in both rankings, or in one; ranks count from 1.

    Attributes:
        document: Its id.
        text: Its beginning.
        grade: Its label, or `None` without one.
        before, after: Its rank, or `None` where it is not in the ranking.
    """

    document: str
    text: str = field(repr=False)
    grade: int | None
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A query that got worse.

    Attributes:
        query, text: Its id and its text.
        before, after: What it scored.
        error: Why the call failed, if it did.
        moved: What either ranking has at its top, in the order of the new one.
    """

    query: str
    text: str = field(repr=False)
    before: float
    after: float
    error: str | None
    moved: Sequence[Moved]


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The worst of them. Shows itself as a table for each."""

    name: str
    than: str
    measure: str
    found: Sequence[Loss]
    count: int
    """How many queries got worse in all."""

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Loss]:
        return iter(self.found)

    def __str__(self) -> str:
        lines = [self._headline()]
        for loss in self.found:
            lines += ["", f"{loss.query}  {loss.text}  {_change(loss)}"]
            lines += [
                f"  {_rank(each.before):>4} -> {_rank(each.after):>4}  {_grade(each):7}  {each.text}"
                for each in loss.moved
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<div>{html.escape(self._headline())}</div>"]
        for loss in self.found:
            rows = "".join(_html_row(each) for each in loss.moved)
            names = (self.than, self.name, "label", "document")
            head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
            title = f"<b>{html.escape(loss.text)}</b> ({html.escape(loss.query)}) {html.escape(_change(loss))}"
            parts.append(f"<div>{title}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
        return "".join(parts)

    def _headline(self) -> str:
        shown = f", the worst {len(self.found)} of them" if self.count > len(self.found) else ""
        return f"{self.name} made {self.count} queries worse than {self.than} on {self.measure}{shown}"


def losses(report: Report, name: str, than: str, most: int) -> Losses:
    """The `most` queries that lost most."""
    measure = report.measures[0]
    new, old = report.scores[name][measure], report.scores[than][measure]
    worse = sorted((query for query in new if new[query] < old[query]), key=lambda query: new[query] - old[query])
    found = [_loss(report, name, than, query) for query in worse[:most]]
    return Losses(name=name, than=than, measure=measure, found=found, count=len(worse))


def _loss(report: Report, name: str, than: str, query: str) -> Loss:
    measure = report.measures[0]
    after, before = report.outcomes[name][query], report.outcomes[than][query]
    old, new = list(before.ranking), list(after.ranking)
    top = dict.fromkeys((*new[: report.k], *old[: report.k]))
    grades = report.data.labels.get(query, {})
    return Loss(
        query=query,
        text=report.data.queries[query],
        before=report.scores[than][measure][query],
        after=report.scores[name][measure][query],
        error=after.error,
        moved=[
            Moved(
                document=document,
                text=_snippet(text_of(report.data.documents[document], None)),
                grade=grades.get(document),
                before=old.index(document) + 1 if document in old else None,
                after=new.index(document) + 1 if document in new else None,
            )
            for document in top
        ],
    )


def _snippet(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SNIPPET else f"{line[: _SNIPPET - 1]}…"


def _change(loss: Loss) -> str:
    failed = f", the call failed with {loss.error}" if loss.error else ""
    return f"{loss.before:.3f} -> {loss.after:.3f}{failed}"


def _rank(rank: int | None) -> str:
    return "-" if rank is None else str(rank)


def _grade(moved: Moved) -> str:
    return "" if moved.grade is None else f"label {moved.grade}"


def _html_row(moved: Moved) -> str:
    colour = ' style="background:rgba(88,161,88,.22)"' if moved.grade else ""
    cells = (_rank(moved.before), _rank(moved.after), "" if moved.grade is None else str(moved.grade))
    numbers = "".join(f'<td style="text-align:right">{each}</td>' for each in cells)
    return f'<tr{colour}>{numbers}<td style="text-align:left">{html.escape(moved.text)}</td></tr>'
