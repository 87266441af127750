"""Infinity, a self-hosted server (https://github.com/michaelfeil/infinity)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from anyrerank._core.types import Scale
from anyrerank.providers._base import CohereStyle


class Infinity(CohereStyle):
    """Scores are within 0..1, or logits with `raw_scores=True`. The server strips white space around texts.

    Unless the server runs with `lengths_via_tokenize`, it reports characters as tokens: do not bill by its usage.
    """

    prefix = "infinity"
    title = "Infinity"
    key_variables = ("INFINITY_API_KEY",)
    base_variables = ("INFINITY_API_BASE",)
    needs_key = False
    options = frozenset({"raw_scores"})
    scale = "unit"
    documents_per_request = 2048
    root = ""

    @override
    def score_scale(self, options: Mapping[str, Any]) -> Scale:
        return "logit" if options.get("raw_scores") else self.scale
