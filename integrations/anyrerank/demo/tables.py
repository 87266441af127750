"""The tables of the demo: one for each question, first stage on the left, reranker on the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich import box
from rich.console import Console, ConsoleOptions, Group, OverflowMethod, RenderResult
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from anyrerank.demo.pipeline import Outcome, Pipeline, Ranked, Settings
from anyrerank.demo.questions import Question

NARROW = 100
"""Width below which the passages of the first stage are left out."""

_SNIPPET = 160
_PROMPT_WORDS = 60


@dataclass(frozen=True, slots=True)
class Symbols:
    """Symbols for an answer and for the direction in which a passage moved."""

    answer: str = "●"
    up: str = "↑"
    down: str = "↓"
    same: str = "="
    overflow: OverflowMethod = "ellipsis"


UNICODE, ASCII = Symbols(), Symbols(answer="*", up="^", down="v", overflow="crop")


def symbols(console: Console) -> Symbols:
    """Symbols that the console can encode."""
    return UNICODE if console.encoding.lower().startswith("utf") else ASCII


@dataclass(frozen=True, slots=True)
class Timing:
    """A pipeline and the outcomes of its questions."""

    pipeline: Pipeline
    outcomes: Sequence[Outcome]


def heading(pipeline: Pipeline, symbols: Symbols) -> Group:
    """The line above the tables of a framework."""
    steps = pipeline.steps if symbols is UNICODE else pipeline.steps.replace("→", "->")
    return Group("", Rule(Text.assemble((pipeline.framework, "bold cyan"), f"  {steps}"), align="left"))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A question and its table, as wide as the console."""

    number: int
    question: Question
    outcome: Outcome
    settings: Settings
    symbols: Symbols

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
        left = Columns("first stage", 18 if wide else 14, self.symbols.overflow)
        right = Columns(self.settings.model, 18 if wide else 14, self.symbols.overflow)
        table.add_column("#", justify="right", style="dim", width=2)
        left.add_to(table, text=wide)
        table.add_column("from", justify="right", width=5)
        right.add_to(table, text=True)
        returned = {passage.id for passage in self.outcome.after}
        rows = zip_longest(self.outcome.before[: len(self.outcome.after)], self.outcome.after)
        for rank, (before, after) in enumerate(rows, start=1):
            table.add_row(
                str(rank),
                *self._cells(before, text=wide, dim=before is not None and before.id not in returned),
                self._move(rank, after),
                *self._cells(after, text=True, dim=False),
            )
        return table

    def _cells(self, passage: Ranked | None, *, text: bool, dim: bool) -> Iterable[Text]:
        if passage is None:
            return [Text()] * (3 if text else 2)
        answers = passage.topic in self.question.answered_by
        style = "dim" if dim else ""
        topic = Text(f"{self.symbols.answer if answers else ' '} {passage.topic}", "green" if answers else style)
        snippet = Text(" ".join(passage.text.split())[:_SNIPPET].lstrip("*| "), style)
        score = Text("none" if passage.score is None else f"{passage.score:.4f}", style)
        return [topic, snippet, score] if text else [topic, score]

    def _move(self, rank: int, passage: Ranked | None) -> Text:
        if passage is None:
            return Text()
        earlier = first_rank([each.id == passage.id for each in self.outcome.before])
        if earlier is None or earlier == rank:
            return Text(f"{self.symbols.same} {earlier}", "dim")
        symbol, style = (self.symbols.up, "green") if earlier > rank else (self.symbols.down, "red")
        return Text(f"{symbol} {earlier}", style)

    def _verdict(self) -> Text:
        """How the rank of the first answer changed."""
        symbol, before, after = self.symbols.answer, self._first(self.outcome.before), self._first(self.outcome.after)
        if before is None:
            count = len(self.outcome.before)
            return Text(
                f"    no {symbol} among the {count} candidates: a reranker can only reorder what was retrieved",
                "yellow",
            )
        if before == after:
            return Text(f"    the first {symbol} stays at rank {before}", "dim")
        target = f"to rank {after}" if after else f"out of the top {len(self.outcome.after)}"
        verdict = ("better", "green") if after is not None and after < before else ("worse", "red")
        return Text.assemble((f"    the first {symbol} moves from rank {before} {target}: ", "dim"), verdict)

    def _first(self, ranking: Sequence[Ranked]) -> int | None:
        return first_rank([passage.topic in self.question.answered_by for passage in ranking])

    def _prompt(self) -> Text:
        """The beginning of the prompt for a language model."""
        words = self.outcome.prompt.split()
        start = " ".join(words[:_PROMPT_WORDS])
        return Text(
            f"    prompt for the LLM, {len(words)} words: {start}", "dim", no_wrap=True, overflow=self.symbols.overflow
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one ranking in a table."""

    title: str
    topic_width: int
    overflow: OverflowMethod

    def add_to(self, table: Table, *, text: bool) -> None:
        """Add the topic, the passage if `text`, and the score."""
        width = self.topic_width
        table.add_column(self.title, no_wrap=True, overflow=self.overflow, min_width=width, max_width=width)
        if text:
            table.add_column("passage", no_wrap=True, overflow=self.overflow, ratio=1)
        table.add_column("score", justify="right", width=7)


def summary(ranks: Sequence[tuple[int | None, int | None]], top_n: int) -> Text:
    """The mean reciprocal rank of the first answer among the top `top_n`, before and after, with wins and losses."""
    gains = [_reciprocal(after, top_n) - _reciprocal(before, top_n) for before, after in ranks]
    mean = sum(_reciprocal(rank, top_n) for rank, _ in ranks) / len(ranks)
    wins = sum(after is not None and (before is None or after < before) for before, after in ranks)
    losses = sum(before is not None and (after is None or after > before) for before, after in ranks)
    counts = f"{wins} better, {losses} worse, {len(ranks) - wins - losses} the same"
    means = f"from {mean:.3f} to {mean + sum(gains) / len(gains):.3f}"
    return Text(
        f"\n    the questions above are examples; over all {len(ranks)} questions, RR@{top_n} of the first answer goes "
        f"{means}: {counts}",
        "bold",
    )


def _reciprocal(rank: int | None, top_n: int) -> float:
    return 1 / rank if rank is not None and rank <= top_n else 0.0


def timings(timed: Sequence[Timing], training_seconds: float) -> Group:
    """A table with the time of each part."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", style="bold cyan")
    for name in ("indexing", "retrieval per question", "reranking per question"):
        table.add_column(name, justify="right")
    for each in timed:
        count = len(each.outcomes)
        table.add_row(
            each.pipeline.framework,
            f"{each.pipeline.indexing_seconds:.2f} s",
            f"{sum(outcome.retrieval_seconds for outcome in each.outcomes) / count * 1000:.1f} ms",
            f"{sum(outcome.reranking_seconds for outcome in each.outcomes) / count * 1000:.1f} ms",
        )
    training = f"training the embedding, once: {training_seconds:.2f} s"
    return Group("", Rule(Text("timings", "bold cyan"), align="left"), table, training)


def first_rank(matches: Sequence[bool]) -> int | None:
    """The rank of the first match, counted from 1."""
    return next((rank for rank, match in enumerate(matches, start=1) if match), None)
