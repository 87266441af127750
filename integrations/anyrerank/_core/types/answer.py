"""What a provider answered to one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from anyrerank._core.types.results import Spans
from anyrerank._core.types.usage import Meta

Scale: TypeAlias = Literal["unit", "logit", "unknown"]
"""The scale of scores: from 0 to 1, logits, or not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider answered to one request.

    Attributes:
        scores: (index, score) pairs; each index at most once, every score finite.
        spans: The relevant parts of each document, by its index, if they were requested.
        id: The provider's id of the answer.
        meta: Usage.
        request_id: The provider's id of the request.
        status: HTTP status, or `None` without HTTP.
        cost: US dollars, if the provider reports what the request cost.
    """

    scores: Sequence[tuple[int, float]]
    spans: Spans = field(default_factory=dict)
    id: str | None = None
    meta: Meta = field(default_factory=Meta)
    request_id: str | None = None
    status: int | None = None
    cost: float | None = None
