"""Thresholds that are compared with scores on different scales."""

from __future__ import annotations

from collections.abc import Iterable

from anyrerank._core.engine import Deployment, Options


def mixed_scales(members: Iterable[Deployment], options: Options) -> str | None:
    """The warning for a threshold that would be compared with both logits and scores from 0 to 1, or `None`."""
    if options.score_threshold is None:
        return None
    scales: dict[str, str] = {}
    for member in members:
        if not member.has_own_threshold and (scale := member.expected_scale(options)) != "unknown":
            scales.setdefault(scale, member.name)
    if len(scales) < 2:
        return None
    found = ", ".join(f"{name} ({scale})" for scale, name in scales.items())
    return (
        f"score_threshold={options.score_threshold:g} is compared with scores on different scales: {found}; in "
        "fallbacks pass a Reranker with its own score_threshold (a Router has one for all models)"
    )
