"""The scores that a provider gave for one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyrerank._core.types.usage import Meta

Scale: TypeAlias = Literal["unit", "logit", "unknown"]
"""What a score means: calibrated to 0..1, a logit, or nothing that can be mapped to 0..1."""


_NO_META = Meta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider made of one request: (index, score) pairs, each index at most once, every score finite."""

    scores: Sequence[tuple[int, float]]
    id: str | None = None
    meta: Meta = _NO_META
    request_id: str | None = None
    status: int | None = None
    cost: float | None = None
    """US dollars, where the provider says what the request cost."""
