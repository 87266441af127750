"""The small labelled set that ships. `data/demo_v1/HOW.md` says what it is, how it was made, what it cannot tell."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import as_file, files
from typing import Literal

from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.files import from_beir

_NAME = "demo_v1"


def demo_set(*, candidates: int = 30, half: Literal["development", "held-out"] | None = None) -> Dataset:
    """120 passages and 60 queries, with labels, and with candidates that were found by latent semantic analysis.

    It tells working from broken, not one good reranker from another.

    Args:
        candidates: How many for each query, up to 50.
        half: The queries with odd numbers, to tune on, or those with even ones; by default all.
    """
    with as_file(files("anyrerank.evaluation").joinpath("data", _NAME)) as folder:
        data = from_beir(folder, name=_NAME)
        found = json.loads(folder.joinpath("first_stage.json").read_text(encoding="utf-8"))
    data = replace(data, candidates={query: documents[:candidates] for query, documents in found.items()})
    if half is None:
        return data
    odd = half == "development"
    return data.only(query for query in data.queries if (int(query[1:]) % 2 == 1) is odd)
