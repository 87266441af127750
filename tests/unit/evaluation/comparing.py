"""A small comparison over a wire that scores each document by the number at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from tests.support.frameworks import Wire
from tests.support.harness import KEY

from anyrerank import (
    Reranker,
)
from anyrerank.evaluation import Dataset, compare

# The wire scores a document by the number at its end.
DATA = Dataset(
    name="small",
    queries={"q1": "one", "q2": "two", "q3": "three"},
    documents={"a": "a 0.9", "b": "b 0.5", "c": "c 0.1"},
    labels={"q1": {"a": 1, "b": 0}, "q2": {"c": 2, "a": 1}, "q3": {"b": 0}},
    candidates={"q1": ["c", "b", "a"], "q2": ["c", "b", "a"], "q3": ["a", "b", "c"]},
)


def reranker_on(wire: Wire, model: str = "cohere/rerank-v3.5", **options: Any) -> Reranker:
    client = httpx.Client(transport=httpx.MockTransport(wire))
    return Reranker(model, **{"api_key": KEY, "http_client": client, "max_retries": 0, **options})


def run(rerankers: Mapping[str, Any], data: Dataset = DATA, **options: Any) -> Any:
    return compare(rerankers, data, **{"cache": None, "announce": lambda line: None, **options})
