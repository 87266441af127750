"""The small labelled dataset that ships with the package. `data/demo_v1/HOW.md` describes how it was made."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import as_file, files
from typing import Literal

from anyrerank.evaluation.dataset import Dataset, FoundCandidates
from anyrerank.evaluation.files import from_beir

_NAME = "demo_v1"
_FIRST_STAGE = "latent semantic analysis of the documents"


def demo_set(*, candidates: int = 30, split: Literal["development", "held-out"] | None = None) -> Dataset:
    """120 passages and 60 queries with labels, and candidates found by latent semantic analysis.

    The set is large enough to show whether a reranker works, and too small to compare two good ones.

    Args:
        candidates: Number of candidates for each query, up to 50.
        split: `"development"` for the 30 queries to tune on, `"held-out"` for the 30 others; by default all 60.
    """
    with as_file(files("anyrerank.evaluation").joinpath("data", _NAME)) as folder:
        data = from_beir(folder, name=_NAME)
        ranked = json.loads(folder.joinpath("first_stage.json").read_text(encoding="utf-8"))
    found = {query: documents[:candidates] for query, documents in ranked.items()}
    data = replace(data, candidates=FoundCandidates(found, _FIRST_STAGE))
    if split is None:
        return data
    odd = split == "development"
    return data.select(query for query in data.queries if (int(query[1:]) % 2 == 1) is odd)
