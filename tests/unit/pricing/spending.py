"""Calls that cost what a search costs at Cohere."""

from __future__ import annotations

from typing import Any

import httpx
from tests.support.frameworks import Wire
from tests.support.harness import Mode

from anyrerank import (
    Reranker,
)

EACH = 0.002
"""What a search costs at Cohere."""


def served(mode: Mode, wire: Wire, model: str = "cohere/rerank-v3.5", **options: Any) -> Reranker:
    return mode.reranker(model, http_client=mode.client(transport=httpx.MockTransport(wire)), **options)
