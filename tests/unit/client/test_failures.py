"""Failed calls: what their errors say, fallbacks, and `on_error`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.harness import KEY, Mode, Replay, leaks
from tests.support.loopback import Line, Loopback, Script, in_turn, ranking
from tests.unit.client.calls import DOCUMENTS, QUERY, fails

from anyrerank import (
    AuthenticationError,
    BadRequestError,
    FallbackError,
    InternalServerError,
    RerankError,
)


def test_document_that_is_too_large_fails_over(mode: Mode, server: Loopback) -> None:
    server.script = fails(413)
    response = mode.rerank(mode.reranker(api_base=server.url, fallbacks=["local/lexical"]), QUERY, DOCUMENTS[:1])
    assert (response.provider, [each.status for each in response.attempts]) == ("local", [413, None])


@pytest.mark.parametrize("documents", [["a 1"], [5]], ids=str)
def test_error_has_the_model_and_the_attempts(documents: list[Any], mode: Mode, server: Loopback) -> None:
    server.script = fails(401)
    with pytest.raises(RerankError) as caught:
        mode.rerank(mode.reranker(api_base=server.url), QUERY, documents)
    assert (caught.value.provider, caught.value.model) == ("cohere", "rerank-v3.5")
    assert [each.status for each in caught.value.attempts] == [401 for _ in server.hits]


@pytest.mark.parametrize(
    "script", [fails(500), fails(401), Line.hang_up, lambda line: line.answer(body=ranking(["x"]))]
)
def test_passthrough_returns_the_incoming_order(
    script: Script, mode: Mode, server: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = script
    documents: list[Any] = ["a secret 1", {"text": "b secret 2"}, "", "c secret 3"]
    reranker = mode.reranker(api_base=server.url, on_error="passthrough", score_threshold=0.5)
    with caplog.at_level(logging.DEBUG, logger="anyrerank"):
        response = mode.rerank(reranker, "a secret question", documents, top_n=3)
    assert response.degraded
    assert [(each.index, each.relevance_score) for each in response.results] == [(0, None), (1, None), (2, None)]
    assert response.results[1].document is documents[1]
    assert len(response.attempts) == 1
    assert response.attempts[0].error is not None
    warnings = [record for record in caplog.records if record.name == "anyrerank" and record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert response.attempts[0].error in warnings[0].getMessage()
    assert "secret" not in caplog.text + repr(response.meta) + repr(response)
    assert KEY not in caplog.text


def test_passthrough_raises_for_an_invalid_call(mode: Mode, server: Loopback) -> None:
    reranker = mode.reranker(api_base=server.url, on_error="passthrough")
    with pytest.raises(BadRequestError):
        mode.rerank(reranker, " ", DOCUMENTS)
    with pytest.raises(BadRequestError):
        mode.rerank(reranker, QUERY, DOCUMENTS, truncate="END")
    assert server.hits == []


def test_success_is_not_degraded_and_logs_no_warning(
    mode: Mode, server: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    response = mode.rerank(mode.reranker(api_base=server.url, on_error="passthrough"), QUERY, DOCUMENTS)
    assert not response.degraded
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_fallback_uses_its_own_connection(mode: Mode, server: Loopback, serve: Callable[..., Loopback]) -> None:
    other = serve()
    server.script = fails(503)
    second = mode.reranker("cohere/second", api_base=other.url, api_key="other-key")
    response = mode.rerank(mode.reranker(api_base=server.url, fallbacks=[second]), QUERY, DOCUMENTS)
    assert (response.provider, response.model) == ("cohere", "second")
    assert [(each.deployment, each.status) for each in response.attempts] == [
        ("cohere/rerank-v3.5", 503),
        ("cohere/second", 200),
    ]
    assert [hit.headers["authorization"] for hit in (*server.hits, *other.hits)] == [
        f"Bearer {KEY}",
        "Bearer other-key",
    ]


def test_fallback_on_this_machine(mode: Mode, server: Loopback) -> None:
    server.script = Line.hang_up
    response = mode.rerank(mode.reranker(api_base=server.url, fallbacks=["local/lexical"]), "Ottawa", DOCUMENTS)
    assert (response.provider, response.results[0].index) == ("local", 1)


def test_fallback_error_has_all_errors_and_attempts(mode: Mode, server: Loopback) -> None:
    server.script = in_turn(fails(503), fails(401))
    reranker = mode.reranker(api_base=server.url, fallbacks=["cohere/second"])
    with pytest.raises(FallbackError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert [type(each) for each in caught.value.errors] == [InternalServerError, AuthenticationError]
    assert [each.status for each in caught.value.attempts] == [503, 401]
    assert not leaks(caught.value, [KEY, QUERY, *DOCUMENTS])


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422, 451, 503])
def test_refusal_of_a_server_fails_over(status: int, sync_mode: Mode, server: Loopback) -> None:
    server.script = fails(status)
    reranker = sync_mode.reranker(api_base=server.url, fallbacks=["local/lexical"])
    response = sync_mode.rerank(reranker, QUERY, DOCUMENTS)
    assert (response.provider, [each.status for each in response.attempts]) == ("local", [status, None])


def test_call_that_is_refused_before_sending_does_not_fail_over(mode: Mode, server: Loopback) -> None:
    with pytest.raises(BadRequestError):
        mode.rerank(mode.reranker(api_base=server.url, fallbacks=["local/lexical"]), " ", DOCUMENTS)
    assert server.hits == []


def test_fallback_that_answered_is_logged_as_a_warning(
    mode: Mode, server: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = fails(401, {"message": "expired"})
    mode.rerank(mode.reranker(api_base=server.url, fallbacks=["local/lexical"]), QUERY, DOCUMENTS)
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("local/lexical" in each and "cohere/rerank-v3.5" in each and "expired" in each for each in messages)


def test_fallbacks_of_a_fallback_come_after_it(mode: Mode) -> None:
    replay = Replay([{"response": {"status": 500, "json": {}}}] * 2)
    client = replay.client(mode)
    inner = mode.reranker("cohere/second", http_client=client, fallbacks=["local/lexical"])
    outer = mode.reranker("cohere/first", http_client=client, fallbacks=[inner])
    response = mode.rerank(outer, QUERY, DOCUMENTS)
    assert response.provider == "local"
    assert [json.loads(request.content)["model"] for request in replay.seen] == ["first", "second"]


def test_passthrough_works_if_a_fallback_cannot_take_the_call(mode: Mode) -> None:
    replay = Replay([{"response": {"status": 500, "json": {}}}])
    fallback = mode.reranker("hosted_vllm/x", api_base="http://vllm.example")
    reranker = mode.reranker(
        http_client=replay.client(mode), score_mode="unit", fallbacks=[fallback], on_error="passthrough"
    )
    response = mode.rerank(reranker, QUERY, DOCUMENTS)
    assert response.degraded
    assert [each.index for each in response.results] == [0, 1, 2]
