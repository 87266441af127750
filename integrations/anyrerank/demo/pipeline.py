"""What a pipeline gives back for a question, whichever framework it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from anyrerank._core.client import Reranker


@dataclass(frozen=True, slots=True)
class Setting:
    """What is run: the model, how many results it returns, and how many candidates it chooses them from."""

    model: str
    top_n: int = 5
    candidates: int = 20

    def options(self, reranker: Reranker) -> dict[str, Any]:
        """What the adapter of either framework is made with, so that both use the connections of one `Reranker`.

        `AnyRerank(model=..., top_n=...)` does the same on connections of its own.
        """
        return {"reranker": reranker, "top_n": self.top_n}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage in a list; `key` tells whether it is the same one in another list."""

    key: str
    topic: str
    text: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question, answered.

    Attributes:
        before: All candidates, as the first stage ranked them.
        after: What the reranker kept of them.
        prompt: What a language model would be sent.
        retrieval: Seconds the first stage took.
        reranking: Seconds the reranker took.
    """

    before: tuple[Ranked, ...]
    after: tuple[Ranked, ...]
    prompt: str
    retrieval: float
    reranking: float


class Pipeline(Protocol):
    """An index, a first stage, a reranker and a prompt in one framework."""

    framework: str
    steps: str
    """The parts, in the order in which a question passes through them."""
    indexing: float
    """Seconds that splitting, embedding and storing the text took."""

    def ask(self, question: str) -> Outcome:
        """Send `question` through the pipeline."""
        ...
