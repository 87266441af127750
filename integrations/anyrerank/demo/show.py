"""One run of the demo, from the text to the last table."""

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
from anyrerank.demo.outcome import Pipeline, Setting
from anyrerank.demo.questions import Question

FRAMEWORKS = {
    "langchain": ("anyrerank.demo.in_langchain", "LangChainPipeline"),
    "llama-index": ("anyrerank.demo.in_llama_index", "LlamaIndexPipeline"),
}


_FLOOR = Text.assemble(
    ("\nlocal/lexical is a floor to start from: ", "bold"),
    "it counts words and parts of words, so a paraphrase is beyond it.\n"
    "With a key in the environment a model does the same job in the same pipelines:\n\n"
    "  NVIDIA_NIM_API_KEY=...  anyrerank demo --model nvidia_nim/nvidia/llama-3_2-nv-rerankqa-1b-v2\n"
    "  COHERE_API_KEY=...      anyrerank demo --model cohere/rerank-v3.5",
)


def show(console: Console, setting: Setting, questions: Sequence[Question], frameworks: Sequence[str]) -> None:
    """Ask every question in every framework, and print what the reranker does to the order.

    Args:
        console: Where to print.
        setting: Model, results and candidates.
        questions: At least one.
        frameworks: Keys of `FRAMEWORKS`.

    Raises:
        RerankError: No key, a missing extra, or whatever the provider did.
    """
    connect(setting.model).check()
    with console.status("learning an embedding from the text"):
        lsa, fitting = learnt()
    for question in questions:
        lsa.vector(question.text)  # one that cannot be placed is an error now, and not halfway
    with Reranker(setting.model) as reranker:
        run = _Run(console, lsa, reranker, setting, questions, tables.signs(console))
        console.print(_introduction(run))
        timed = [run.through(name) for name in frameworks]
    console.print(tables.timings(timed, fitting))
    if setting.model.startswith("local/"):
        console.print(_FLOOR)


@cache
def learnt() -> tuple[Lsa, float]:
    """The embedding of the passages, and the seconds it took to learn it."""
    texts = [passage.text for passage in passages()]
    began = time.perf_counter()
    lsa = Lsa(texts)
    return lsa, time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class _Run:
    console: Console
    lsa: Lsa
    reranker: Reranker
    setting: Setting
    questions: Sequence[Question]
    marks: tables.Signs

    def through(self, name: str) -> tables.Timed:
        """Ask every question in one framework."""
        with self.console.status(f"indexing with {name}"):
            module, kind = FRAMEWORKS[name]
            pipeline: Pipeline = getattr(import_module(module), kind)(self.lsa, self.reranker, self.setting)
        self.console.print(tables.heading(pipeline, self.marks))
        timed = tables.Timed(pipeline)
        for number, question in enumerate(self.questions, start=1):
            with self.console.status("retrieving and reranking"):
                outcome = pipeline.ask(question.text)
            timed.outcomes.append(outcome)
            self.console.print(tables.Answered(number, question, outcome, self.setting, self.marks))
        return timed


def _introduction(run: _Run) -> Table:
    setting, grid = run.setting, Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_row(
        "text",
        f"the language reference of Python {VERSION}: {len(topics())} topics, {len(passages())} passages of up to "
        f"{WORDS} words",
    )
    grid.add_row(
        "first stage", f"latent semantic analysis of that text, {DIMENSIONS} dimensions; nothing is downloaded"
    )
    fused = ", its order fused with the first stage's (score: RRF)" if run.reranker.provider == "local" else ""
    grid.add_row(
        "reranker",
        f"{setting.model}, the best {min(setting.top_n, setting.candidates)} of {setting.candidates} candidates{fused}",
    )
    if any(question.answered_by for question in run.questions):
        grid.add_row(
            run.marks.answer, "from a topic that answers the question, as noted down before any score was seen"
        )
    return grid
