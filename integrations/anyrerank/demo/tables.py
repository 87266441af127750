"""How the demo looks: a table a question with the first stage on the left and the reranked order on the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from rich import box
from rich.console import Console, ConsoleOptions, Group, OverflowMethod, RenderResult
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from anyrerank.demo.outcome import Outcome, Pipeline, Ranked, Setting
from anyrerank.demo.questions import Question

NARROW = 100
"""Columns below which the passages on the left are left out."""

_SNIPPET = 160
_PROMPT_WORDS = 60


@dataclass(frozen=True, slots=True)
class Signs:
    """What marks an answer and a move."""

    answer: str = "●"
    up: str = "↑"
    down: str = "↓"
    same: str = "="
    overflow: OverflowMethod = "ellipsis"


UNICODE, ASCII = Signs(), Signs(answer="*", up="^", down="v", overflow="crop")


def signs(console: Console) -> Signs:
    """What the console's encoding can show."""
    return UNICODE if console.encoding.lower().startswith("utf") else ASCII


@dataclass(frozen=True, slots=True)
class Timed:
    """A pipeline and the outcomes of its questions."""

    pipeline: Pipeline
    outcomes: list[Outcome] = field(default_factory=list)


def heading(pipeline: Pipeline, marks: Signs) -> Group:
    """The line above the tables of a framework."""
    steps = pipeline.steps if marks is UNICODE else pipeline.steps.replace("→", "->")
    return Group("", Rule(Text.assemble((pipeline.framework, "bold cyan"), f"  {steps}"), align="left"))


@dataclass(frozen=True, slots=True)
class Answered:
    """A question and its table, as wide as the console."""

    number: int
    question: Question
    outcome: Outcome
    setting: Setting
    marks: Signs

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title = Text.assemble((f"{self.number}. {self.question.text}", "bold"))
        if self.question.remark:
            title.append(f"   ({self.question.remark})", "dim")
        yield ""
        yield title
        yield self._table(wide=options.max_width >= NARROW)
        if self.question.answered_by:
            yield self._verdict()
        yield self._prompt()

    def _table(self, *, wide: bool) -> Table:
        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, show_edge=False, padding=(0, 1))
        left = Column("first stage", 18 if wide else 14, self.marks.overflow)
        right = Column(self.setting.model, 18 if wide else 14, self.marks.overflow)
        table.add_column("#", justify="right", style="dim", width=2)
        left.add_to(table, text=wide)
        table.add_column("from", justify="right", width=5)
        right.add_to(table, text=True)
        kept = {passage.key for passage in self.outcome.after}
        rows = zip_longest(self.outcome.before[: len(self.outcome.after)], self.outcome.after)
        for rank, (before, after) in enumerate(rows, start=1):
            table.add_row(
                str(rank),
                *self._cells(before, text=wide, dim=before is not None and before.key not in kept),
                self._move(rank, after),
                *self._cells(after, text=True, dim=False),
            )
        return table

    def _cells(self, passage: Ranked | None, *, text: bool, dim: bool) -> Iterable[Text]:
        if passage is None:
            return [Text()] * (3 if text else 2)
        answers = passage.topic in self.question.answered_by
        style = "dim" if dim else ""
        topic = Text(f"{self.marks.answer if answers else ' '} {passage.topic}", "green" if answers else style)
        snippet = Text(" ".join(passage.text.split())[:_SNIPPET].lstrip("*| "), style)
        score = Text("none" if passage.score is None else f"{passage.score:.4f}", style)
        return [topic, snippet, score] if text else [topic, score]

    def _move(self, rank: int, passage: Ranked | None) -> Text:
        if passage is None:
            return Text()
        earlier = place([each.key == passage.key for each in self.outcome.before])
        if earlier is None or earlier == rank:
            return Text(f"{self.marks.same} {earlier}", "dim")
        sign, style = (self.marks.up, "green") if earlier > rank else (self.marks.down, "red")
        return Text(f"{sign} {earlier}", style)

    def _verdict(self) -> Text:
        """Where the first passage from a topic that answers was, and where it is."""
        mark, before, after = self.marks.answer, self._first(self.outcome.before), self._first(self.outcome.after)
        if before is None:
            count = len(self.outcome.before)
            return Text(
                f"    no {mark} among the {count} candidates, and a reranker only orders what was found", "yellow"
            )
        if before == after:
            return Text(f"    the first {mark} stays at rank {before}", "dim")
        now = f"to rank {after}" if after else f"below the first {len(self.outcome.after)}"
        better = after is not None and after < before
        judgement = ("better", "green") if better else ("worse, the reranker loses here", "red")
        return Text.assemble((f"    the first {mark} moves from rank {before} {now}: ", "dim"), judgement)

    def _first(self, ranked: Sequence[Ranked]) -> int | None:
        return place([passage.topic in self.question.answered_by for passage in ranked])

    def _prompt(self) -> Text:
        """The beginning of what a language model would be sent."""
        words = self.outcome.prompt.split()
        start = " ".join(words[:_PROMPT_WORDS])
        return Text(
            f"    prompt for a model, {len(words)} words: {start}", "dim", no_wrap=True, overflow=self.marks.overflow
        )


@dataclass(frozen=True, slots=True)
class Column:
    """The columns of one side of a table."""

    title: str
    topic: int
    overflow: OverflowMethod

    def add_to(self, table: Table, *, text: bool) -> None:
        """Add topic, passage and score."""
        table.add_column(self.title, no_wrap=True, overflow=self.overflow, min_width=self.topic, max_width=self.topic)
        if text:
            table.add_column("passage", no_wrap=True, overflow=self.overflow, ratio=1)
        table.add_column("score", justify="right", width=7)


def timings(timed: Sequence[Timed], fitting: float) -> Group:
    """How long each part took."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", style="bold cyan")
    for name in ("indexing", "retrieval, a question", "reranking, a question"):
        table.add_column(name, justify="right")
    for each in timed:
        count = len(each.outcomes)
        table.add_row(
            each.pipeline.framework,
            f"{each.pipeline.indexing:.2f} s",
            f"{sum(outcome.retrieval for outcome in each.outcomes) / count * 1000:.1f} ms",
            f"{sum(outcome.reranking for outcome in each.outcomes) / count * 1000:.1f} ms",
        )
    return Group("", Rule(Text("time", "bold cyan"), align="left"), table, f"embedding learnt in {fitting:.2f} s, once")


def place(matches: Sequence[bool]) -> int | None:
    """The rank, from 1, of the first match."""
    return next((rank for rank, match in enumerate(matches, start=1) if match), None)
