"""The queries and texts that the servers of the slow tests rank, and the scores that the model itself computes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.processes import script
from tests.support.harness import DOCUMENTS

QUERIES = ["Which city is the capital of Canada?", "what is the red planet"]
TEXTS = [
    *DOCUMENTS,
    "mars is the red planet",
    "a dog and a cat",
    "the river in the capital",
    "Mañana, naïve Ünïcode, and 漢字 that the model has no word for",
    "the river in the capital " * 200,
    "planet",
]
CLOSE = 1e-4
"""Tolerance of a score: it depends a little on the texts that are padded together."""


@dataclass(frozen=True)
class Truth:
    """Scores of the `TEXTS` for each of the `QUERIES`, and the folder of the model."""

    folder: Path
    unit: Sequence[Sequence[float]]
    logits: Sequence[Sequence[float]]


def compute(python: str, folder: Path) -> Truth:
    """Write the model to `folder` and compute its scores without a server."""
    pairs = [[query, text] for query in QUERIES for text in TEXTS]
    program = Path(__file__).with_name("tiny_cross_encoder.py")
    found = json.loads(script(python, program, str(folder), given=json.dumps(pairs)))
    return Truth(folder=folder, unit=_by_query(found["unit"]), logits=_by_query(found["logits"]))


def _by_query(scores: Sequence[float]) -> list[Sequence[float]]:
    return [scores[start : start + len(TEXTS)] for start in range(0, len(scores), len(TEXTS))]


def order(scores: Sequence[float]) -> list[int]:
    """Indexes, best first."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])
