"""`anyrerank demo`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.output import console

_PLAIN_WIDTH = 140
"""Without a terminal, wide enough for two lists side by side."""


class Framework(str, Enum):
    """Where the demo runs."""

    both = "both"
    langchain = "langchain"
    llama_index = "llama-index"


def demo(
    model: Annotated[str, typer.Option(help="provider/model; its key comes from the environment.")] = "local/lexical",
    top_n: Annotated[int, typer.Option("--top-n", "-k", min=1, help="Number of passages after reranking.")] = 5,
    candidates: Annotated[
        int, typer.Option("--candidates", "-n", min=1, help="Number of passages that the first stage retrieves.")
    ] = 20,
    question: Annotated[
        list[str] | None,
        typer.Option(help="A question about Python to ask instead. May be repeated.", show_default=False),
    ] = None,
    framework: Annotated[Framework, typer.Option(help="The framework to run it in.")] = Framework.both,
) -> None:
    """Show how retrieved passages are reranked in LangChain and LlamaIndex."""
    with one_line_errors():
        from anyrerank.demo import FRAMEWORKS, QUESTIONS, Question, Settings, show

        questions = [Question(text) for text in question or []] or QUESTIONS
        frameworks = list(FRAMEWORKS) if framework is Framework.both else [framework.value]
        show(console(_PLAIN_WIDTH), Settings(model, top_n, candidates), questions, frameworks)
