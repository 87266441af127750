"""What every comparison is seen against: the first stage, chance, and an oracle that knows the labels."""

from __future__ import annotations

import random
from collections.abc import Sequence

from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.outcomes import Outcome, Outcomes

FIRST_STAGE, RANDOM, ORACLE = "first_stage", "random", "oracle"
REFERENCES = (FIRST_STAGE, RANDOM, ORACLE)


def references(data: Dataset) -> dict[str, Outcomes]:
    """The rankings of all three; chance is one shuffle, the same each time."""
    return {
        FIRST_STAGE: {query: Outcome(data.candidates[query]) for query in data.queries},
        RANDOM: {query: Outcome(_shuffled(query, data.candidates[query])) for query in data.queries},
        ORACLE: {query: Outcome(_best_first(data, query)) for query in data.queries},
    }


def _shuffled(query: str, found: Sequence[str]) -> list[str]:
    return random.Random(f"chance {query}").sample(list(found), len(found))  # noqa: S311  the same for everybody


def _best_first(data: Dataset, query: str) -> list[str]:
    """As good as these candidates allow: what the first stage did not find, no reranker brings back."""
    grades = data.labels.get(query, {})
    return sorted(data.candidates[query], key=lambda document: -grades.get(document, 0))
