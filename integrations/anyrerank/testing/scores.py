"""Scores of the fake provider and the stub server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

Score: TypeAlias = Callable[[str, str], float]
"""The score of a document, from the query and the document's text."""

Scores: TypeAlias = Mapping[str, float] | Score
"""Scores by the document's text (0.0 for a text that is not listed), or as a function."""

_WORD = re.compile(r"\w+")


def score_function(scores: Scores | None) -> Score:
    """`scores` as a function; by default `overlap`.

    Raises:
        ValueError: They are something else.
    """
    if scores is None:
        return overlap
    if callable(scores):
        return scores
    if not isinstance(scores, Mapping):
        raise ValueError(f"scores must be a mapping from text to score, or a function, got {type(scores).__name__}")
    listed = scores
    return lambda _, document: listed.get(document, 0.0)


def overlap(query: str, document: str) -> float:
    """The fraction of the words of the query that are in the document, from 0.0 to 1.0."""
    wanted, found = (set(_WORD.findall(text.casefold())) for text in (query, document))
    return len(wanted & found) / len(wanted) if wanted else 0.0
