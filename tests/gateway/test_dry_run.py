"""Requests that only want to know what they would cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.cache import MemoryCache
from anyrerank.testing import StubServer

HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}
DRY = {**HEADERS, "x-anyrerank-dry-run": "true"}


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def ask(documents: int, **more: Any) -> dict[str, Any]:
    return {"model": "rerank", "query": "a", "documents": [f"document {n}" for n in range(documents)], **more}


def test_dry_run_names_requests_units_and_dollars_and_sends_nothing(vendor: StubServer) -> None:
    connection = {"api_key": "k", "api_base": vendor.url}
    models = [
        entry("rerank", "cohere/rerank-v3.5", **connection, input_cost_per_query=0.5),
        entry("spare", "nvidia_nim/some/model", **connection, input_cost_per_query=0),
    ]
    with running(gateway_of(models, fallbacks=[{"rerank": ["spare"]}])) as url:
        answer = httpx.post(f"{url}/rerank", json=ask(1500), headers=DRY)
        spent = httpx.get(f"{url}/metrics").text

    first, second = answer.json()["deployments"]
    assert (answer.status_code, answer.json()["documents"]) == (200, 1500)
    assert (first["model_name"], first["deployment"]) == ("rerank", "cohere/rerank-v3.5")
    assert (first["requests"], first["search_units"], first["dollars"]) == (2, 15, 7.5)
    assert (second["model_name"], second["requests"], second["dollars"]) == ("spare", 2, 0)
    assert vendor.requests == []
    assert "anyrerank_cost_dollars_total{" not in spent


def test_dry_run_leaves_out_what_is_cached(vendor: StubServer) -> None:
    models = [entry("rerank", "cohere/rerank-v3.5", api_key="k", api_base=vendor.url, input_cost_per_query=0.5)]
    with running(gateway_of(models, cache=MemoryCache())) as url:
        before = httpx.post(f"{url}/rerank", json=ask(3), headers=DRY).json()["deployments"][0]
        httpx.post(f"{url}/rerank", json=ask(3), headers=HEADERS)
        partly = httpx.post(f"{url}/rerank", json=ask(5), headers=DRY).json()["deployments"][0]
        wholly = httpx.post(f"{url}/rerank", json=ask(2), headers=DRY).json()["deployments"][0]

    assert (before["requests"], before["documents"]) == (1, 3)
    assert (partly["requests"], partly["documents"], partly["not_sent"]) == (1, 2, 3)
    assert (wholly["requests"], wholly["documents"], wholly["dollars"]) == (0, 0, 0)
    assert len(vendor.requests) == 1


def test_dry_run_says_that_a_price_is_unknown(vendor: StubServer) -> None:
    with running(gateway_of([entry("rerank", "cohere/no-such-model", api_key="k", api_base=vendor.url)])) as url:
        answer = httpx.post(f"{url}/rerank", json=ask(2), headers=DRY)

    assert answer.json()["deployments"][0]["dollars"] is None


@pytest.mark.parametrize(("headers", "body", "status"), [({}, ask(1), 401), (HEADERS, ask(1, query=" "), 400)])
def test_dry_run_is_checked_as_any_request(headers: dict[str, str], body: dict[str, Any], status: int) -> None:
    with running(gateway_of()) as url:
        answer = httpx.post(f"{url}/rerank", json=body, headers={**headers, "x-anyrerank-dry-run": "true"})

    assert answer.status_code == status
