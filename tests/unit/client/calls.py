"""Documents of the tests of calls, and what a server answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from tests.support.harness import Mode
from tests.support.loopback import Script

import anyrerank
from anyrerank import (
    Reranker,
)

QUERY = "what is the capital"
DOCUMENTS = ["Lisbon 3", "Ottawa 1", "Sydney 2"]


def numbered(count: int) -> list[str]:
    """Documents of which the server ranks the last one first."""
    return [f"document {count - index}" for index in range(count)]


def indexes(response: anyrerank.RerankResponse) -> list[int]:
    return [each.index for each in response.results]


def fails(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Script:
    return lambda line: line.answer(status, {"message": "not now"} if body is None else body, headers)


def replay(mode: Mode, model: str = "cohere/rerank-v3.5", body: Any = None, **options: Any) -> Reranker:
    """A reranker whose server always gives the same answer."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=body)

    return mode.reranker(model, http_client=mode.client(transport=httpx.MockTransport(answer)), **options)
