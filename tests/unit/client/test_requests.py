"""How a call becomes a request."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from tests.support.harness import KEY, Mode
from tests.support.loopback import Loopback
from tests.unit.client.calls import DOCUMENTS, QUERY

from anyrerank import (
    Reranker,
    RerankError,
)
from anyrerank._core.client import add_documents, prepared
from anyrerank._core.client.calls import responded
from anyrerank._core.runtime import HttpRequest


@pytest.mark.parametrize("model", ["bedrock/cohere.rerank-v3-5:0"])
def test_all_clients_send_the_same_path(model: str, way: Mode, server: Loopback) -> None:
    reranker = way.reranker(model, api_base=f"{server.url}/a b/\u00fc", aws_region_name="us-west-2")
    with suppress(RerankError):
        way.rerank(reranker, QUERY, DOCUMENTS)
    assert server.hits[0].target == "/a%20b/%C3%BC/model/cohere.rerank-v3-5%3A0/invoke"


@pytest.mark.parametrize("guardrails", [[], [str.upper]], ids=["plain", "guarded"])
def test_request_is_at_most_eight_generators_deep(guardrails: list[Any]) -> None:
    reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, guardrails=guardrails)
    call = prepared(reranker, QUERY, {})
    add_documents(reranker, call, DOCUMENTS)
    flow: Any = responded(reranker, call)
    effect = next(flow)
    while not isinstance(effect, HttpRequest):
        effect = flow.send(effect.function())
    depth, innermost = 1, flow
    while (innermost := innermost.gi_yieldfrom) is not None:
        depth += 1
    assert depth <= 8
    flow.close()
