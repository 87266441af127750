"""The interface of a pipeline of the demo, the same for both frameworks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from anyrerank._core.client import Reranker


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a run.

    Attributes:
        model: The model string of the reranker.
        top_n: Number of passages after reranking.
        candidates: Number of passages that the first stage retrieves.
    """

    model: str
    top_n: int = 5
    candidates: int = 20

    def options(self, reranker: Reranker) -> dict[str, Any]:
        """Arguments of the adapter in either framework.

        Both adapters share the connections of one `Reranker`. `AnyRerank(model=..., top_n=...)` would open its own.
        """
        return {"reranker": reranker, "top_n": self.top_n}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage in a ranking. The same passage has the same `id` in other rankings of its pipeline."""

    id: str
    topic: str
    text: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results for one question.

    Attributes:
        before: All candidates, in the order of the first stage.
        after: The passages that the reranker returned, best first.
        prompt: The prompt for a language model.
        retrieval_seconds: Time of the first stage.
        reranking_seconds: Time of the reranker.
    """

    before: tuple[Ranked, ...]
    after: tuple[Ranked, ...]
    prompt: str
    retrieval_seconds: float
    reranking_seconds: float


class Pipeline(Protocol):
    """An index, a first stage, a reranker and a prompt in one framework.

    Attributes:
        framework: Name of the framework.
        steps: The parts that a question passes through, in order.
        indexing_seconds: Time to split, embed and store the text.
    """

    framework: str
    steps: str
    indexing_seconds: float

    def ask(self, question: str) -> Outcome:
        """Send `question` through the pipeline."""
        ...
