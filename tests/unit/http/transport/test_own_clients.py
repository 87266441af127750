"""Clients of the caller."""

from __future__ import annotations

import httpx
import pytest
from tests.support.harness import KEY, Mode
from tests.support.loopback import Loopback
from tests.unit.http.transport.network import DOCUMENTS, QUERY, failure, works

from anyrerank import (
    APITimeoutError,
    ConfigurationError,
    Reranker,
)


def test_http_client_is_one_of_httpx() -> None:
    with pytest.raises(ConfigurationError, match=r"httpx\.Client or an httpx\.AsyncClient"):
        Reranker("cohere/rerank-v3.5", http_client="http://proxy")  # type: ignore[arg-type]


def test_an_own_client_is_not_closed(server: Loopback) -> None:
    with httpx.Client() as client:
        with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, http_client=client) as reranker:
            reranker.rerank(QUERY, DOCUMENTS)
        assert not client.is_closed
        assert server.connections == 1


def test_an_own_client_that_is_closed_is_one_clear_error(mode: Mode) -> None:
    client = mode.client()
    reranker = mode.reranker(http_client=client, api_base="http://rerank.invalid")
    if isinstance(client, httpx.AsyncClient):
        mode.run(client.aclose())
    else:
        client.close()
    error = failure(mode, reranker)
    assert (type(error), error.message[:21]) == (ConfigurationError, "http_client is closed")


def test_a_client_of_the_other_mode_is_left_alone(mode: Mode, server: Loopback) -> None:
    other = Mode(asynchronous=not mode.asynchronous)
    never = httpx.MockTransport(lambda request: httpx.Response(599))
    works(mode, mode.reranker(api_base=server.url, http_client=other.client(transport=never)))
    other.finish()


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        (httpx.Timeout(5.0), {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 30.0}),
        (httpx.Timeout(2.0), {"connect": 2.0, "read": 2.0, "write": 2.0, "pool": 2.0}),
        (httpx.Timeout(None, read=90.0), {"connect": 30.0, "read": 30.0, "write": 30.0, "pool": 30.0}),
    ],
    ids=["httpx's default", "shorter", "longer"],
)
def test_the_limits_of_a_client_of_the_caller_hold(own: httpx.Timeout, limits: dict[str, float], mode: Mode) -> None:
    seen: list[dict[str, float]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 0.5}]})

    client = mode.client(transport=httpx.MockTransport(answer), timeout=own)
    mode.rerank(mode.reranker(http_client=client, timeout=30.0), QUERY, DOCUMENTS[:1])
    assert seen == [pytest.approx(limits, abs=1.0)]


def test_a_client_without_limits_in_a_call_without_one(mode: Mode) -> None:
    seen: list[dict[str, float | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 0.5}]})

    client = mode.client(transport=httpx.MockTransport(answer), timeout=None)
    mode.rerank(mode.reranker(http_client=client, timeout=None), QUERY, DOCUMENTS[:1])
    assert seen == [{"connect": None, "read": None, "write": None, "pool": None}]


@pytest.mark.parametrize("kind", ["connect", "read", "write", "pool"])
def test_a_timeout_of_a_client_of_the_caller_names_it_and_its_seconds(kind: str, mode: Mode) -> None:
    raised = getattr(httpx, f"{kind.title()}Timeout")

    def fails(request: httpx.Request) -> httpx.Response:
        raise raised("made by the test", request=request)

    limits = httpx.Timeout(20.0, **{kind: 2.5})
    client = mode.client(transport=httpx.MockTransport(fails), timeout=limits)
    error = failure(mode, mode.reranker(http_client=client, timeout=60, max_retries=0))
    assert type(error) is APITimeoutError
    assert " 2.5 s" in error.message
    assert ("http_client" in error.message, f"{kind} timeout" in error.message) == (kind != "connect",) * 2
