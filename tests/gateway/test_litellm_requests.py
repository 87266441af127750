"""What LiteLLM's proxy takes with a request, and what its clients find in the answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank import MemoryCache
from anyrerank.testing import StubServer

ASK: dict[str, Any] = {"model": "rerank", "query": "Which planet is red?", "documents": ["Venus is hot", "Mars is red"]}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


def model(vendor: StubServer) -> dict[str, Any]:
    return entry("rerank", "cohere/rerank-v3.5", api_key="vendor-key", api_base=vendor.url)


def test_call_id_of_the_client_comes_back() -> None:
    with running(gateway_of()) as url:
        named = httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "x-litellm-call-id": "call-7"}).headers
        both = httpx.get(f"{url}/livez", headers={"x-litellm-call-id": "call-7", "x-request-id": "request-8"}).headers
    assert (named["x-litellm-call-id"], named["x-request-id"]) == ("call-7", "call-7")
    assert both["x-request-id"] == "request-8"


def test_deployment_that_answered_is_named() -> None:
    named = {**entry("rerank"), "model_info": {"id": "the first"}}
    with running(gateway_of([named])) as url:
        answer = httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)
    assert answer.headers["x-litellm-model-id"] == "the first"


def test_header_shortens_the_timeout_and_the_body_wins() -> None:
    with (
        StubServer() as vendor,
        running(gateway_of([model(vendor)], num_retries=0, timeout=30, allowed_fails=9)) as url,
    ):
        vendor.fail("hang")
        header = httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "x-litellm-timeout": "0.2"})
        body = httpx.post(f"{url}/rerank", json={**ASK, "timeout": 0.2}, headers={**HEADERS, "x-litellm-timeout": "20"})
    assert (header.status_code, body.status_code) == (408, 408)


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf", ""])
def test_timeout_that_is_no_number_of_seconds_is_refused(given: str) -> None:
    with running(gateway_of()) as url:
        answer = httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "x-litellm-timeout": given})
    assert answer.status_code == 400
    assert "x-litellm-timeout" in answer.json()["error"]["message"]


@pytest.mark.parametrize("isolation", [False, True])
def test_request_without_the_cache_is_sent_and_not_stored(*, isolation: bool) -> None:
    settings = {"cache_isolation": isolation}
    with StubServer() as vendor, running(gateway_of([model(vendor)], settings=settings, cache=MemoryCache())) as url:
        sent = []
        for cache in ({"no-cache": True}, {}, {}, {"no-cache": True}, {"no-cache": False}):
            httpx.post(f"{url}/rerank", json={**ASK, "cache": cache}, headers=HEADERS)
            sent.append(len(vendor.requests))
    assert sent == [1, 2, 2, 3, 3]


@pytest.mark.parametrize("isolation", [False, True])
def test_request_that_must_not_be_stored_still_finds_what_is(*, isolation: bool) -> None:
    settings = {"cache_isolation": isolation}
    with StubServer() as vendor, running(gateway_of([model(vendor)], settings=settings, cache=MemoryCache())) as url:
        sent = []
        for cache in (
            {"no-store": True},
            {"no-store": True},
            {},
            {"no-store": True},
            {"no-store": True, "no-cache": True},
        ):
            httpx.post(f"{url}/rerank", json={**ASK, "cache": cache}, headers=HEADERS)
            sent.append(len(vendor.requests))
    assert sent == [1, 2, 3, 3, 4]
