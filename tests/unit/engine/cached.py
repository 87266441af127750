"""Rerankers with a cache over a wire that scores each document by the number at its end."""

from __future__ import annotations

from typing import Any

import httpx
from tests.support.frameworks import Wire
from tests.support.harness import Mode

from anyrerank import MemoryCache, Reranker

TEXTS = ["a 0.1", "b 0.9", "c 0.5"]


def served(mode: Mode, wire: Wire, model: str = "cohere/rerank-v3.5", **options: Any) -> Reranker:
    """A reranker with a cache in memory, unless `options` say otherwise."""
    client = mode.client(transport=httpx.MockTransport(wire))
    return mode.reranker(model, **{"http_client": client, "cache": MemoryCache(), **options})
