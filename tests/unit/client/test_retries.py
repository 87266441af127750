"""Retries and timeouts of a call."""

from __future__ import annotations

import inspect
import time
from typing import Any

import pytest
from tests.support.harness import KEY, Mode
from tests.support.loopback import Line, Loopback, in_turn, well
from tests.unit.client.calls import DOCUMENTS, QUERY, fails, indexes, numbered

import anyrerank
from anyrerank import (
    APIConnectionError,
    APITimeoutError,
    InternalServerError,
    RateLimitError,
    Reranker,
    RerankError,
)


def test_response_after_retries_has_every_attempt(mode: Mode, server: Loopback, waits: list[float]) -> None:
    server.script = in_turn(fails(500), Line.hang_up, well)
    response = mode.rerank(mode.reranker(api_base=server.url, max_retries=2), QUERY, DOCUMENTS)
    assert indexes(response) == [1, 2, 0]
    assert [(each.deployment, each.status, each.error) for each in response.attempts] == [
        ("cohere/rerank-v3.5", 500, "InternalServerError"),
        ("cohere/rerank-v3.5", None, "APIConnectionError"),
        ("cohere/rerank-v3.5", 200, None),
    ]
    assert all(each.seconds >= 0 for each in response.attempts)
    assert len(waits) == 2
    assert 0 < waits[0] <= 0.5
    assert 0 < waits[1] <= 1.0
    assert server.hits[0].raw == server.hits[1].raw == server.hits[2].raw


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_temporary_status_is_retried(status: int, sync_mode: Mode, server: Loopback, waits: list[float]) -> None:
    server.script = in_turn(fails(status), well)
    response = sync_mode.rerank(sync_mode.reranker(api_base=server.url, max_retries=1), QUERY, DOCUMENTS)
    assert [each.status for each in response.attempts] == [status, 200]


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 405, 413, 422, 424, 498, 499, 501])
def test_other_status_is_not_retried(status: int, sync_mode: Mode, server: Loopback, waits: list[float]) -> None:
    server.script = fails(status)
    with pytest.raises(RerankError) as caught:
        sync_mode.rerank(sync_mode.reranker(api_base=server.url, max_retries=2), QUERY, DOCUMENTS[:1])
    assert (caught.value.status_code, len(server.hits), waits) == (status, 1, [])


def test_default_is_two_retries(mode: Mode, server: Loopback, waits: list[float]) -> None:
    server.script = fails(503)
    connection: dict[str, Any] = {"model": "cohere/rerank-v3.5", "api_key": KEY, "api_base": server.url}
    with pytest.raises(InternalServerError):
        mode.function(query=QUERY, documents=DOCUMENTS, **connection)
    assert (len(server.hits), len(waits)) == (3, 2)
    reranker = Reranker(**connection)
    with pytest.raises(InternalServerError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert (len(server.hits), len(waits)) == (6, 4)
    mode.close(reranker)


@pytest.mark.parametrize("name", ["max_retries", "num_retries"])
def test_call_overrides_the_number_of_retries(name: str, mode: Mode, server: Loopback, waits: list[float]) -> None:
    server.script = fails(503)
    options: dict[str, Any] = {name: 1}
    with pytest.raises(InternalServerError):
        mode.rerank(mode.reranker(api_base=server.url), QUERY, DOCUMENTS, **options)
    assert len(server.hits) == 2


@pytest.mark.parametrize(
    ("headers", "waited"),
    [({"retry-after": "7"}, 7.0), ({"retry-after-ms": "1500"}, 1.5), ({"retry-after": "0"}, None)],
)
def test_server_says_how_long_to_wait(
    headers: dict[str, str], waited: float | None, mode: Mode, server: Loopback, waits: list[float]
) -> None:
    server.script = in_turn(fails(429, headers=headers), well)
    mode.rerank(mode.reranker(api_base=server.url, max_retries=1, timeout=60), QUERY, DOCUMENTS)
    assert [each for each in waits if each] == ([] if waited is None else [waited])


@pytest.mark.parametrize("asked", ["11", "3600"])
def test_wait_longer_than_the_timeout_raises_at_once(
    asked: str, mode: Mode, server: Loopback, waits: list[float]
) -> None:
    server.script = fails(429, headers={"retry-after": asked})
    with pytest.raises(RateLimitError) as caught:
        mode.rerank(mode.reranker(api_base=server.url, max_retries=5, timeout=10), QUERY, DOCUMENTS)
    assert (caught.value.retry_after, len(server.hits), waits) == (float(asked), 1, [])


def test_wait_of_an_hour_raises_at_once_without_a_timeout_too(mode: Mode, server: Loopback, waits: list[float]) -> None:
    server.script = fails(429, headers={"retry-after": "3600"})
    with pytest.raises(RateLimitError):
        mode.rerank(mode.reranker(api_base=server.url, max_retries=5, timeout=None), QUERY, DOCUMENTS)
    assert (len(server.hits), waits) == (1, [])


def test_timeout_is_for_the_whole_call(mode: Mode, server: Loopback) -> None:
    def script(line: Line) -> None:
        line.client_left()

    server.script = in_turn(fails(503, headers={"retry-after": "0"}), script)
    reranker = mode.reranker(api_base=server.url, batch_size=1, max_concurrency=1, max_retries=100, timeout=0.4)
    began = time.monotonic()
    with pytest.raises(APITimeoutError) as caught:
        mode.rerank(reranker, QUERY, numbered(20))
    assert 0.35 <= time.monotonic() - began < 1.5
    assert caught.value.status_code is None


def test_default_timeout_is_sixty_seconds() -> None:
    assert inspect.signature(anyrerank.rerank).parameters["timeout"].default == 60.0
    assert inspect.signature(Reranker).parameters["timeout"].default == 60.0


def test_connection_error_is_retried(mode: Mode, server: Loopback, waits: list[float]) -> None:
    server.script = Line.reset
    with pytest.raises(APIConnectionError):
        mode.rerank(mode.reranker(api_base=server.url, max_retries=3), QUERY, DOCUMENTS)
    assert (len(server.hits), len(waits)) == (4, 3)
