"""The reference rows of every report: the first stage, a random order, and an oracle that uses the labels."""

from __future__ import annotations

import random
from collections.abc import Sequence

from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.outcomes import Outcome, Outcomes

FIRST_STAGE, RANDOM, ORACLE = "first_stage", "random", "oracle"
REFERENCES = (FIRST_STAGE, RANDOM, ORACLE)


def references(data: Dataset) -> dict[str, Outcomes]:
    """The outcomes of all three references. The random order is the same every time."""
    return {
        FIRST_STAGE: {query: Outcome(data.candidates[query]) for query in data.queries},
        RANDOM: {query: Outcome(_shuffled(query, data.candidates[query])) for query in data.queries},
        ORACLE: {query: Outcome(_best_first(data, query)) for query in data.queries},
    }


def _shuffled(query: str, candidates: Sequence[str]) -> list[str]:
    rng = random.Random(f"random {query}")  # noqa: S311  the same order every time, not a secret
    return rng.sample(list(candidates), len(candidates))


def _best_first(data: Dataset, query: str) -> list[str]:
    """The best order of these candidates: no reranker can recover what the first stage missed."""
    grades = data.labels.get(query, {})
    return sorted(data.candidates[query], key=lambda document: -grades.get(document, 0))
