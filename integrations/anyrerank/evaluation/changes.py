"""The queries that a reranker made better or worse, side by side with the baseline."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from anyrerank._core.types import public, shortened, text_of

if TYPE_CHECKING:
    from anyrerank.evaluation.scored import Scored

_SNIPPET = 110


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The ranks of a candidate in both rankings, from 1.

    Attributes:
        document: Id of the document.
        text: Beginning of its text.
        grade: Its label, or `None` if it has none.
        before, after: Its rank, or `None` if it is not in that ranking.
    """

    document: str
    text: str = field(repr=False)
    grade: int | None
    before: int | None
    after: int | None


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A query that a reranker made better or worse.

    Attributes:
        query, text: Id and text of the query.
        before, after: Its value in the baseline and in the new ranking.
        error: Name of the error class if the call failed, else `None`.
        moves: The top candidates of either ranking, in the order of the new one.
    """

    query: str
    text: str = field(repr=False)
    before: float
    after: float
    error: str | None
    moves: Sequence[Move]


@public("anyrerank.evaluation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The largest wins or losses, largest first. Iterates over them, and displays as one table for each.

    Attributes:
        name: Name of the reranker.
        baseline: Name of the row that it is compared with.
        measure: Name of the measure.
        direction: `"higher"` for wins, `"lower"` for losses.
        largest: The changes shown.
        total: Number of all queries that changed in this direction.
    """

    name: str
    baseline: str
    measure: str
    direction: Literal["higher", "lower"]
    largest: Sequence[Change]
    total: int

    def __len__(self) -> int:
        return len(self.largest)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.largest)

    def __str__(self) -> str:
        lines = [self._headline()]
        for change in self.largest:
            lines += ["", f"{change.query}  {change.text}  {_values(change)}"]
            lines += [
                f"  {_rank(move.before):>4} -> {_rank(move.after):>4}  {_grade(move):7}  {move.text}"
                for move in change.moves
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        headings = (f"rank in {self.baseline}", f"rank in {self.name}", "label", "document")
        head = "".join(f"<th>{html.escape(each)}</th>" for each in headings)
        parts = [f"<div>{html.escape(self._headline())}</div>"]
        for change in self.largest:
            rows = "".join(map(_html_row, change.moves))
            title = f"<b>{html.escape(change.text)}</b> ({html.escape(change.query)}) {html.escape(_values(change))}"
            parts.append(f"<div>{title}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
        return "".join(parts)

    def _headline(self) -> str:
        shown = f"; showing the largest {len(self.largest)}" if self.total > len(self.largest) else ""
        return (
            f"{self.name} scores {self.direction} than {self.baseline} on {self.total} queries ({self.measure}){shown}"
        )


def changes(report: "Scored", name: str, baseline: str, limit: int, *, wins: bool) -> Changes:
    """The `limit` queries whose first measure rose most, or fell most."""
    measure, sign = report.measures[0], 1.0 if wins else -1.0
    new, old = report.scores[name][measure], report.scores[baseline][measure]
    gains = {query: sign * (new[query] - old[query]) for query in new}
    changed = sorted((query for query in gains if gains[query] > 0), key=lambda query: -gains[query])
    return Changes(
        name=name,
        baseline=baseline,
        measure=measure,
        direction="higher" if wins else "lower",
        largest=[_change(report, name, baseline, query) for query in changed[:limit]],
        total=len(changed),
    )


def _change(report: "Scored", name: str, baseline: str, query: str) -> Change:
    measure = report.measures[0]
    return Change(
        query=query,
        text=report.data.queries[query],
        before=report.scores[baseline][measure][query],
        after=report.scores[name][measure][query],
        error=report.outcomes[name][query].error,
        moves=_moves(report, name, baseline, query),
    )


def _moves(report: "Scored", name: str, baseline: str, query: str) -> list[Move]:
    old, new = (list(report.outcomes[each][query].ranking) for each in (baseline, name))
    grades = report.data.labels.get(query, {})
    top = dict.fromkeys((*new[: report.k], *old[: report.k]))
    return [
        Move(
            document=document,
            text=shortened(" ".join(text_of(report.data.documents[document], None).split()), _SNIPPET),
            grade=grades.get(document),
            before=_rank_in(old, document),
            after=_rank_in(new, document),
        )
        for document in top
    ]


def _rank_in(ranking: Sequence[str], document: str) -> int | None:
    return ranking.index(document) + 1 if document in ranking else None


def _values(change: Change) -> str:
    failure = f", the call failed with {change.error}" if change.error else ""
    return f"{change.before:.3f} -> {change.after:.3f}{failure}"


def _rank(rank: int | None) -> str:
    return "-" if rank is None else str(rank)


def _grade(move: Move) -> str:
    return "" if move.grade is None else f"label {move.grade}"


def _html_row(move: Move) -> str:
    style = ' style="background:rgba(88,161,88,.22)"' if move.grade else ""
    cells = (_rank(move.before), _rank(move.after), "" if move.grade is None else str(move.grade))
    numbers = "".join(f'<td style="text-align:right">{each}</td>' for each in cells)
    return f'<tr{style}>{numbers}<td style="text-align:left">{html.escape(move.text)}</td></tr>'
