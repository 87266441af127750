"""A whole run of the demo: every question in every framework, printed as tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anyrerank._core.client import Reranker
from anyrerank._core.engine import connect
from anyrerank.demo import tables
from anyrerank.demo.corpus import VERSION, WORDS, passages, topics
from anyrerank.demo.embedding import DIMENSIONS, Lsa
from anyrerank.demo.pipeline import Pipeline, Settings
from anyrerank.demo.questions import ALL_QUESTIONS, QUESTIONS, Question
from anyrerank.errors import BadRequestError

FRAMEWORKS = {
    "langchain": ("anyrerank.demo.in_langchain", "LangChainPipeline"),
    "llama-index": ("anyrerank.demo.in_llama_index", "LlamaIndexPipeline"),
}
"""Module and class of each pipeline. A framework is imported when its pipeline runs."""

_LEXICAL_BASELINE = Text.assemble(
    ("\nlocal/lexical is a baseline: ", "bold"),
    "it matches words and parts of words, so it misses paraphrases.\n"
    "With an API key, a trained model takes its place in the same pipelines:\n\n"
    "  NVIDIA_NIM_API_KEY=...  anyrerank demo --model nvidia_nim/nvidia/llama-3_2-nv-rerankqa-1b-v2\n"
    "  COHERE_API_KEY=...      anyrerank demo --model cohere/rerank-v3.5\n\n"
    "anyrerank serve, of the extra gateway, offers rerankers over HTTP to the clients of LiteLLM, Cohere and others.",
)


def show(console: Console, settings: Settings, questions: Sequence[Question], frameworks: Sequence[str]) -> None:
    """Ask every question in every framework, and print how the reranker changes the order.

    Args:
        console: Where to print.
        settings: The model and the numbers of passages.
        questions: At least one question.
        frameworks: Keys of `FRAMEWORKS`.

    Raises:
        RerankError: The key or an extra is missing, a question has no known word, or the provider failed.
    """
    connect(settings.model).check()
    with console.status("training the embedding"):
        lsa, seconds = train_embedding()
    for question in questions:
        lsa.vector(question.text)  # fail now rather than after half of the output
    with Reranker(settings.model) as reranker:
        run = _Run(console, lsa, reranker, settings, questions, tables.symbols(console))
        console.print(_introduction(run))
        timings = [run.through(name) for name in frameworks]
    console.print(tables.timings(timings, seconds))
    if settings.model.startswith("local/"):
        console.print(_LEXICAL_BASELINE)


@cache
def train_embedding() -> tuple[Lsa, float]:
    """Train the embedding on the passages. Return it and the seconds it took."""
    texts = [passage.text for passage in passages()]
    start = time.perf_counter()
    lsa = Lsa(texts)
    return lsa, time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class _Run:
    console: Console
    lsa: Lsa
    reranker: Reranker
    settings: Settings
    questions: Sequence[Question]
    symbols: tables.Symbols

    def through(self, name: str) -> tables.Timing:
        """Ask every question in one framework."""
        with self.console.status(f"indexing with {name}"):
            module, class_name = FRAMEWORKS[name]
            pipeline: Pipeline = getattr(import_module(module), class_name)(self.lsa, self.reranker, self.settings)
        self.console.print(tables.heading(pipeline, self.symbols))
        outcomes = []
        for number, question in enumerate(self.questions, start=1):
            with self.console.status("retrieving and reranking"):
                outcome = pipeline.ask(question.text)
            outcomes.append(outcome)
            self.console.print(tables.Comparison(number, question, outcome, self.settings, self.symbols))
        if self.questions == QUESTIONS and self.reranker.provider == "local":  # a provider would be paid for more calls
            self.console.print(tables.summary(self._ranks(pipeline), self.settings.top_n))
        return tables.Timing(pipeline, outcomes)

    def _ranks(self, pipeline: Pipeline) -> list[tuple[int | None, int | None]]:
        """The rank of the first answer before and after reranking, for all questions; `None` if it is not found."""
        return [self._first_answer(pipeline, question) for question in ALL_QUESTIONS]

    def _first_answer(self, pipeline: Pipeline, question: Question) -> tuple[int | None, int | None]:
        try:
            outcome = pipeline.ask(question.text)
        except BadRequestError:  # the first stage knows no word of the question
            return None, None
        before, after = (
            tables.first_rank([passage.topic in question.answered_by for passage in ranking])
            for ranking in (outcome.before, outcome.after)
        )
        return before, after


def _introduction(run: _Run) -> Table:
    settings, grid = run.settings, Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_row(
        "text",
        f"the language reference of Python {VERSION}: {len(topics())} topics, {len(passages())} passages of up to "
        f"{WORDS} words",
    )
    grid.add_row("first stage", f"latent semantic analysis of that text, {DIMENSIONS} dimensions, no download")
    fused = ", fused with the order of the first stage (RRF scores)" if run.reranker.provider == "local" else ""
    top_n = min(settings.top_n, settings.candidates)
    grid.add_row("reranker", f"{settings.model}: the best {top_n} of {settings.candidates} candidates{fused}")
    if any(question.answered_by for question in run.questions):
        grid.add_row(run.symbols.answer, "a passage from a topic that answers the question, as labelled in demo_v1")
    return grid
