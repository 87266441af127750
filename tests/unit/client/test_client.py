"""Calls from the user's side: batches, retries, the order of results, and errors."""

from __future__ import annotations

import inspect
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from tests.support.harness import KEY, Mode, Replay, leaks
from tests.support.loopback import PATIENCE, Line, Loopback, Script, in_turn, ranking, well

import anyrerank
from anyrerank import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    FallbackError,
    InternalServerError,
    RateLimitError,
    Reranker,
    RerankError,
)
from anyrerank._core.client import add_documents, prepared
from anyrerank._core.client.calls import responded
from anyrerank._core.runtime import HttpRequest

QUERY = "what is the capital"
DOCUMENTS = ["Lisbon 3", "Ottawa 1", "Sydney 2"]


def numbered(count: int) -> list[str]:
    """Documents of which the server ranks the last one first."""
    return [f"document {count - index}" for index in range(count)]


def indexes(response: anyrerank.RerankResponse) -> list[int]:
    return [each.index for each in response.results]


def fails(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Script:
    return lambda line: line.answer(status, {"message": "not now"} if body is None else body, headers)


# Batches


def test_2500_documents_are_sent_in_three_concurrent_requests(mode: Mode, server: Loopback) -> None:
    together = threading.Barrier(3)

    def script(line: Line) -> None:
        together.wait(PATIENCE)
        well(line)

    server.script = script
    response = mode.rerank(mode.reranker(api_base=server.url), QUERY, numbered(2500), top_n=3)
    assert indexes(response) == [2499, 2498, 2497]
    assert [each.relevance_score for each in response.results] == [1 / 2, 1 / 3, 1 / 4]
    assert sorted(len(hit.documents) for hit in server.hits) == [500, 1000, 1000]
    assert [document for hit in _in_order(server) for document in hit.documents] == numbered(2500)
    assert {hit.json["top_n"] for hit in server.hits} == {3}
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.search_units == 3
    assert len(response.attempts) == 3


def _in_order(server: Loopback) -> list[Any]:
    return sorted(server.hits, key=lambda hit: -int(hit.documents[0].split()[-1]))


def test_documents_of_all_batches_have_the_right_index(mode: Mode, server: Loopback) -> None:
    documents = [f"document {(index * 7) % 23}" for index in range(23)]
    response = mode.rerank(mode.reranker(api_base=server.url, batch_size=5), QUERY, documents)
    assert len(server.hits) == 5
    assert [each.document for each in response.results] == [{"text": f"document {n}"} for n in range(23)]
    assert all(each.document == {"text": documents[each.index]} for each in response.results)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_concurrent_requests_are_limited_by_max_concurrency(limit: int, mode: Mode, server: Loopback) -> None:
    lock, now, peak = threading.Lock(), [0], [0]
    full = threading.Event()

    def script(line: Line) -> None:
        with lock:
            now[0] += 1
            peak[0] = max(peak[0], now[0])
            if now[0] >= limit:
                full.set()
        full.wait(PATIENCE)
        with lock:
            now[0] -= 1
        well(line)

    server.script = script
    mode.rerank(mode.reranker(api_base=server.url, batch_size=1, max_concurrency=limit), QUERY, numbered(9))
    assert (len(server.hits), peak[0]) == (9, limit)


def test_failed_batch_is_retried_alone(mode: Mode, server: Loopback) -> None:
    failed = threading.Event()

    def script(line: Line) -> None:
        if line.hit.documents[0] == "document 4" and not failed.is_set():
            failed.set()
            line.answer(503, {"message": "try later"}, {"retry-after": "0"})
        else:
            well(line)

    server.script = script
    reranker = mode.reranker(api_base=server.url, batch_size=2, max_retries=1)
    response = mode.rerank(reranker, QUERY, numbered(6))
    assert indexes(response) == [5, 4, 3, 2, 1, 0]
    assert sorted(hit.documents[0] for hit in server.hits) == [f"document {n}" for n in (2, 4, 4, 6)]
    assert sorted((each.status, each.error) for each in response.attempts) == [
        (200, None),
        (200, None),
        (200, None),
        (503, "InternalServerError"),
    ]
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.search_units == 3


def test_batch_that_fails_finally_ends_the_call_at_once(mode: Mode, server: Loopback) -> None:
    arrived = threading.Barrier(2)

    def script(line: Line) -> None:
        arrived.wait(PATIENCE)
        if line.number == 0:
            line.answer(401, {"message": "wrong key"})
        else:
            line.client_left()

    server.script = script
    reranker = mode.reranker(api_base=server.url, batch_size=1, max_concurrency=2, timeout=2.0)
    began = time.monotonic()
    with pytest.raises(AuthenticationError):
        mode.rerank(reranker, QUERY, numbered(50))
    assert time.monotonic() - began < 1.5
    assert len(server.hits) == 2
    assert not mode.asynchronous or server.abandoned.wait(PATIENCE)


TOO_LARGE: dict[str, tuple[int, Any]] = {
    "413": (413, {"message": "no"}),
    "422 batch size": (422, {"error": "batch size 8 > maximum allowed batch size 3", "error_type": "Validation"}),
    "400 tokens": (400, {"message": "too many tokens in one request"}),
    "400 documents": (400, {"message": "the number of documents exceeds the maximum of 3"}),
    "400 at most": (400, {"message": "8 documents were sent, and at most 3 are allowed"}),
    "422 length": (422, {"message": "the input is too long for this model"}),
    "400 window": (400, {"message": "Maximum number of inputs is 3"}),
}


@pytest.mark.parametrize(("status", "body"), list(TOO_LARGE.values()), ids=list(TOO_LARGE))
def test_request_that_is_too_large_is_halved(status: int, body: Any, mode: Mode, server: Loopback) -> None:
    server.script = lambda line: well(line) if len(line.hit.documents) <= 3 else line.answer(status, body)
    documents = numbered(8)
    response = mode.rerank(mode.reranker(api_base=server.url), QUERY, documents, top_n=7)
    assert indexes(response) == [7, 6, 5, 4, 3, 2, 1]
    assert sorted(len(hit.documents) for hit in server.hits) == [2, 2, 2, 2, 4, 4, 8]
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.search_units == 4


@pytest.mark.parametrize(
    "message",
    ["you exceeded your quota", "at most 5 requests per minute", "max_tokens_per_doc must be at most 512", "no"],
)
def test_refusal_that_is_not_about_a_size_is_not_halved(message: str, mode: Mode, server: Loopback) -> None:
    server.script = lambda line: line.answer(400, {"message": message})
    with pytest.raises(BadRequestError):
        mode.rerank(mode.reranker(api_base=server.url), QUERY, numbered(8))
    assert len(server.hits) == 1


def test_size_that_fewer_documents_do_not_help_costs_a_few_requests(mode: Mode, server: Loopback) -> None:
    server.script = lambda line: line.answer(400, {"message": "the query is too long"})
    with pytest.raises(BadRequestError):
        mode.rerank(mode.reranker(api_base=server.url), QUERY, numbered(64))
    assert [len(hit.documents) for hit in server.hits] == [64, 32, 16, 8, 4, 2, 1]


def test_single_document_that_is_too_large_is_named(mode: Mode, server: Loopback) -> None:
    server.script = lambda line: line.answer(413) if any("huge" in text for text in line.hit.documents) else well(line)
    documents = ["", "a 1", "b 2", "huge 3", "d 4"]
    with pytest.raises(BadRequestError, match=r"documents\[3\] is too large") as caught:
        mode.rerank(mode.reranker(api_base=server.url), QUERY, documents)
    assert caught.value.status_code == 413
    assert not leaks(caught.value, ["huge"])


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


@pytest.mark.parametrize("message", ["query must not be empty", "model not found"])
def test_other_bad_request_is_not_halved(message: str, mode: Mode, server: Loopback) -> None:
    server.script = fails(400, {"message": message})
    with pytest.raises(BadRequestError, match=message):
        mode.rerank(mode.reranker(api_base=server.url), QUERY, numbered(8))
    assert len(server.hits) == 1


def test_dedupe_sends_identical_documents_once(mode: Mode, server: Loopback) -> None:
    documents = ["b 2", "a 1", {"text": "b 2", "page": 4}, "a 1", "c 3", ""]
    response = mode.rerank(mode.reranker(api_base=server.url, dedupe=True), QUERY, documents)
    assert server.hits[0].documents == ["b 2", "a 1", "c 3"]
    assert indexes(response) == [1, 3, 0, 2, 4, 5]
    assert [each.relevance_score for each in response.results] == [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 4, None]
    assert response.results[3].document is documents[2]


def test_dedupe_compares_all_fields_that_are_ranked(mode: Mode) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        records = json.loads(request.content)["records"]
        return httpx.Response(
            200, json={"records": [{"id": each["id"], "score": len(each["title"]) / 10} for each in records]}
        )

    client = mode.client(transport=httpx.MockTransport(answer))
    documents = [{"title": "Rome", "text": "It is a capital."}, {"title": "Madrid", "text": "It is a capital."}]
    reranker = mode.reranker("vertex_ai/m", vertex_project="p", http_client=client, dedupe=True)
    response = mode.rerank(reranker, QUERY, [*documents, documents[0]])
    assert list(response.results.pairs()) == [(1, 0.6), (0, 0.4), (2, 0.4)]


@pytest.mark.parametrize("top_n", [1, 2, 3])
def test_duplicates_count_towards_top_n(top_n: int, mode: Mode, server: Loopback) -> None:
    response = mode.rerank(
        mode.reranker(api_base=server.url, dedupe=True, top_n=top_n), QUERY, ["b 2", "a 1", "a 1", "b 2"]
    )
    assert indexes(response) == [1, 2, 0][:top_n]


def test_identical_documents_are_all_sent_without_dedupe(mode: Mode, server: Loopback) -> None:
    response = mode.rerank(mode.reranker(api_base=server.url), QUERY, ["b 2", "a 1", "b 2"])
    assert server.hits[0].documents == ["b 2", "a 1", "b 2"]
    assert indexes(response) == [1, 0, 2]


# Retries


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


# From scores to results


def replay(mode: Mode, model: str = "cohere/rerank-v3.5", body: Any = None, **options: Any) -> Reranker:
    """A reranker whose server always gives the same answer."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=body)

    return mode.reranker(model, http_client=mode.client(transport=httpx.MockTransport(answer)), **options)


def scored(*scores: float) -> dict[str, Any]:
    return {"results": [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]}


def test_blank_documents_come_last_without_a_score(mode: Mode) -> None:
    documents = ["", "a", {"text": " "}, "b", "\n\t"]
    reranker = replay(mode, body=scored(0.2, 0.9))
    response = mode.rerank(reranker, QUERY, documents)
    assert [(each.index, each.relevance_score) for each in response.results] == [
        (3, 0.9),
        (1, 0.2),
        (0, None),
        (2, None),
        (4, None),
    ]
    assert indexes(mode.rerank(reranker, QUERY, documents, top_n=3)) == [3, 1, 0]
    assert indexes(mode.rerank(reranker, QUERY, documents, score_threshold=-1)) == [3, 1]


@pytest.mark.parametrize(
    ("threshold", "top_n", "expected"),
    [(0.0, None, [0, 2, 1]), (0.5, None, [0, 2]), (0.51, None, [0]), (0.5, 1, [0]), (1, None, []), (None, 2, [0, 2])],
)
def test_threshold(threshold: float | None, top_n: int | None, expected: list[int], mode: Mode) -> None:
    reranker = replay(mode, body=scored(0.9, 0.0, 0.5), score_threshold=threshold, top_n=top_n)
    assert indexes(mode.rerank(reranker, QUERY, DOCUMENTS)) == expected


def test_unit_mode_maps_logits(mode: Mode) -> None:
    body = {"rankings": [{"index": index, "logit": logit} for index, logit in enumerate([0.0, 800.0, -800.0, -2.0])]}
    reranker = replay(mode, "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2", body)
    documents = ["a", "b", "c", "d"]
    raw = mode.rerank(reranker, QUERY, documents)
    unit = mode.rerank(reranker, QUERY, documents, score_mode="unit")
    cut = mode.rerank(reranker, QUERY, documents, score_mode="unit", score_threshold=0.5)
    assert [each.relevance_score for each in raw.results] == [800.0, 0.0, -2.0, -800.0]
    assert [each.relevance_score for each in unit.results] == pytest.approx([1.0, 0.5, 0.1192029, 0.0], abs=1e-6)
    assert indexes(raw) == indexes(unit) == [1, 0, 3, 2]
    assert indexes(cut) == [1, 0]


OWN_SERVERS = ["llama_cpp/m", "hosted_vllm/m", "cohere_compatible/m"]


@pytest.mark.parametrize("model", OWN_SERVERS)
@pytest.mark.parametrize(
    ("scale", "expected", "relevant"),
    [("logit", [0.9990889, 0.5, 0.0000167], [1, 2]), ("unit", [7.0, 0.0, -11.0], [1])],
)
def test_score_scale_says_what_the_scores_of_an_own_server_are(
    model: str, scale: str, expected: list[float], relevant: list[int], mode: Mode
) -> None:
    options: dict[str, Any] = {"api_base": "https://own.test", "score_mode": "unit", "score_scale": scale}
    reranker = replay(mode, model, scored(-11.0, 7.0, 0.0), **options)
    response = mode.rerank(reranker, QUERY, DOCUMENTS)
    assert [each.relevance_score for each in response.results] == pytest.approx(expected, abs=1e-7)
    assert indexes(mode.rerank(reranker, QUERY, DOCUMENTS, score_threshold=0.5)) == relevant
    assert mode.rerank(reranker, QUERY, DOCUMENTS, score_mode="raw").results.scores == (7.0, 0.0, -11.0)


@pytest.mark.parametrize("model", OWN_SERVERS)
def test_unit_mode_without_a_known_scale_is_refused_before_sending(model: str, mode: Mode, server: Loopback) -> None:
    with pytest.raises(BadRequestError, match="score_scale="):
        mode.rerank(mode.reranker(model, api_base=server.url), QUERY, DOCUMENTS, score_mode="unit")
    assert server.hits == []


def test_score_scale_does_not_replace_a_known_scale(mode: Mode) -> None:
    reranker = replay(mode, body=scored(0.2, 0.9, 0.5), score_mode="unit", score_scale="logit")
    assert mode.rerank(reranker, QUERY, DOCUMENTS).results.scores == (0.9, 0.5, 0.2)


def test_score_scale_of_a_fallback_is_its_own(mode: Mode, server: Loopback) -> None:
    server.script = fails(503)
    own = replay(mode, "hosted_vllm/m", scored(0.0, 7.0, -7.0), api_base="https://own.test", score_scale="logit")
    reranker = mode.reranker(api_base=server.url, score_mode="unit", fallbacks=[own])
    assert mode.rerank(reranker, QUERY, DOCUMENTS).results.scores == pytest.approx(
        (0.9990889, 0.5, 0.0009111), abs=1e-7
    )


def test_fuse_combines_with_the_incoming_order(mode: Mode) -> None:
    reranker = replay(mode, body=scored(0.1, 0.2, 0.9, 0.8), fuse="rrf")
    response = mode.rerank(reranker, QUERY, ["a", "b", "c", "d"], top_n=3)
    assert indexes(response) == [2, 0, 1]
    assert [each.relevance_score for each in response.results] == pytest.approx(
        [1 / 61 + 1 / 63, 1 / 64 + 1 / 61, 1 / 63 + 1 / 62]
    )


def test_top_n_is_not_sent_with_fuse(mode: Mode, server: Loopback) -> None:
    mode.rerank(mode.reranker(api_base=server.url, fuse="rrf", top_n=1), QUERY, DOCUMENTS)
    assert "top_n" not in server.hits[0].json


def test_documents_are_returned_as_the_same_objects(mode: Mode, server: Loopback) -> None:
    documents: list[Any] = [
        {"text": "b 2", "nested": {"page": [1]}},
        MappingProxyType({"text": "a 1"}),
        "c 3",
    ]
    before = [dict(each) if not isinstance(each, str) else each for each in documents]
    response = mode.rerank(mode.reranker(api_base=server.url), QUERY, documents)
    assert response.results[0].document is documents[1]
    assert response.results[1].document is documents[0]
    assert response.results[2].document == {"text": "c 3"}
    assert [dict(each) if not isinstance(each, str) else each for each in documents] == before


@pytest.mark.parametrize("wanted", [True, None, False])
def test_return_documents(wanted: bool | None, mode: Mode, server: Loopback) -> None:
    response = mode.rerank(mode.reranker(api_base=server.url, return_documents=wanted), QUERY, ["", *DOCUMENTS])
    assert [each.document is None for each in response.results] == [wanted is False] * 4
    assert "return_documents" not in server.hits[0].json


@pytest.mark.parametrize("kind", [tuple, iter, lambda documents: dict.fromkeys(documents).keys()])
def test_documents_can_be_any_iterable(kind: Callable[[Any], Any], mode: Mode, server: Loopback) -> None:
    assert indexes(mode.rerank(mode.reranker(api_base=server.url), QUERY, kind(DOCUMENTS))) == [1, 2, 0]


# Errors and fallbacks


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


# Many calls


def test_rerank_many_returns_responses_in_order(mode: Mode, server: Loopback) -> None:
    together = threading.Barrier(4)

    def script(line: Line) -> None:
        together.wait(PATIENCE)
        well(line)

    server.script = script
    queries = [f"query {number}" for number in range(4)]
    lists = [[f"x {number + 2}", f"y {number + 1}"] for number in range(4)]
    answers = mode.rerank_many(mode.reranker(api_base=server.url), queries, lists)
    assert [answer.results[0].document for answer in answers] == [{"text": f"y {number + 1}"} for number in range(4)]
    assert sorted(hit.json["query"] for hit in server.hits) == queries


@pytest.mark.parametrize("limit", [1, 3])
def test_rerank_many_shares_max_concurrency_with_batches(limit: int, mode: Mode, server: Loopback) -> None:
    lock, now, peak = threading.Lock(), [0], [0]

    def script(line: Line) -> None:
        with lock:
            now[0] += 1
            peak[0] = max(peak[0], now[0])
        line.client_left(0.01)
        with lock:
            now[0] -= 1
        well(line)

    server.script = script
    reranker = mode.reranker(api_base=server.url, batch_size=2, max_concurrency=limit)
    answers = mode.rerank_many(reranker, [QUERY] * 4, [numbered(6)] * 4)
    assert [indexes(answer) for answer in answers] == [[5, 4, 3, 2, 1, 0]] * 4
    assert len(server.hits) == 12
    assert peak[0] <= limit


def test_rerank_many_returns_or_raises_errors(mode: Mode, server: Loopback) -> None:
    server.script = lambda line: line.answer(401) if line.hit.json["query"] == "bad" else well(line)
    reranker = mode.reranker(api_base=server.url)
    answers = mode.rerank_many(reranker, ["a", "bad", "c", " "], [DOCUMENTS] * 4, return_exceptions=True)
    assert isinstance(answers[1], AuthenticationError)
    assert isinstance(answers[3], BadRequestError)
    assert [indexes(answers[index]) for index in (0, 2)] == [[1, 2, 0]] * 2
    with pytest.raises(AuthenticationError):
        mode.rerank_many(reranker, ["a", "bad"], [DOCUMENTS] * 2)


def test_rerank_many_overrides_options(mode: Mode, server: Loopback) -> None:
    reranker = mode.reranker(api_base=server.url, top_n=3)
    answers = mode.rerank_many(reranker, ["a", "b"], [DOCUMENTS] * 2, top_n=1, priority=2)
    assert [len(answer.results) for answer in answers] == [1, 1]
    assert [hit.json["priority"] for hit in server.hits] == [2, 2]
    assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 3
    assert "priority" not in server.hits[-1].json


def test_rerank_many_of_nothing_is_empty(mode: Mode, server: Loopback) -> None:
    assert mode.rerank_many(mode.reranker(api_base=server.url), [], []) == []


@pytest.mark.parametrize(("queries", "lists"), [("abc", [DOCUMENTS] * 3), (["a", "b"], [DOCUMENTS])])
def test_rerank_many_refuses_lists_of_different_length(queries: Any, lists: Any, mode: Mode, server: Loopback) -> None:
    with pytest.raises(BadRequestError, match="a list of queries, and a list of documents for each"):
        mode.rerank_many(mode.reranker(api_base=server.url), queries, lists)
    assert server.hits == []


# Calls that are refused before anything is sent

WRONG: dict[str, dict[str, Any]] = {
    "query none": {"query": None},
    "query blank": {"query": "\u2003"},
    "a string for documents": {"documents": "Ottawa"},
    "a mapping for documents": {"documents": {"text": "Ottawa"}},
    "a number among documents": {"documents": ["Ottawa", 3]},
    "a mapping without text": {"documents": [{"title": "Ottawa"}]},
    "documents none": {"documents": None},
    "top_n 0": {"top_n": 0},
    "top_n -1": {"top_n": -1},
    "top_n true": {"top_n": True},
    "top_n text": {"top_n": "3"},
    "batch_size 0": {"batch_size": 0},
    "max_concurrency 0": {"max_concurrency": 0},
    "max_retries -1": {"max_retries": -1},
    "timeout 0": {"timeout": 0},
    "timeout NaN": {"timeout": float("nan")},
    "threshold text": {"score_threshold": "0.5"},
    "score_mode": {"score_mode": "percent"},
    "on_error": {"on_error": "ignore"},
    "fuse": {"fuse": "mean"},
    "rank_fields a string": {"rank_fields": "title"},
    "extra_body a list": {"extra_body": [1]},
    "an option of another provider": {"truncate": "END"},
}


@pytest.mark.parametrize("wrong", list(WRONG.values()), ids=list(WRONG))
def test_invalid_call_is_refused_before_sending(wrong: dict[str, Any], mode: Mode, server: Loopback) -> None:
    call = {"query": QUERY, "documents": DOCUMENTS, **wrong}
    with pytest.raises(BadRequestError) as caught:
        mode.function(model="cohere/rerank-v3.5", api_key=KEY, api_base=server.url, **call)
    with pytest.raises(BadRequestError):
        mode.rerank(mode.reranker(api_base=server.url), **call)
    assert caught.value.status_code is None
    assert server.hits == []


@pytest.mark.parametrize("name", ["api_key", "api_base", "model", "http_client", "fallbacks", "headers"])
def test_call_cannot_override_the_connection(name: str, mode: Mode, server: Loopback) -> None:
    with pytest.raises(BadRequestError, match=f"{name} cannot be set in a call: pass it to the constructor"):
        mode.rerank(mode.reranker(api_base=server.url), QUERY, DOCUMENTS, **{name: "x"})
    assert server.hits == []


@pytest.mark.parametrize("model", ["acme/model", "cohere", "", "/model", "cohere/", "Cohere/rerank-v3.5"])
def test_unknown_model_is_refused(model: str, mode: Mode) -> None:
    with pytest.raises(ConfigurationError):
        mode.function(model=model, query=QUERY, documents=DOCUMENTS, api_key=KEY)


def test_custom_llm_provider(mode: Mode, server: Loopback) -> None:
    for model in ("rerank-v3.5", "cohere/rerank-v3.5"):
        mode.function(
            model=model,
            custom_llm_provider="cohere",
            query=QUERY,
            documents=DOCUMENTS,
            api_key=KEY,
            api_base=server.url,
        )
    assert [hit.json["model"] for hit in server.hits] == ["rerank-v3.5"] * 2


def test_function_takes_the_positional_arguments_of_litellm(mode: Mode, server: Loopback) -> None:
    options: dict[str, Any] = {"api_key": KEY, "api_base": server.url}
    positional = ("rerank-v3.5", QUERY, DOCUMENTS, "cohere", 1, None, False)
    if mode.asynchronous:
        response = mode.run(anyrerank.arerank(*positional, **options))
    else:
        response = anyrerank.rerank(*positional, **options)
    assert [(each.index, each.document) for each in response.results] == [(1, None)]


def test_function_takes_base_url_and_extra_headers(mode: Mode, server: Loopback) -> None:
    mode.function(
        model="cohere:rerank-v3.5",
        query=QUERY,
        documents=DOCUMENTS,
        api_key=KEY,
        base_url=server.url,
        headers={"x-team": "search"},
        extra_headers={"x-tenant": "7"},
        timeout="30",
    )
    (hit,) = server.hits
    assert (hit.headers["x-team"], hit.headers["x-tenant"], hit.json["model"]) == ("search", "7", "rerank-v3.5")


def test_functions_share_their_connections(server: Loopback) -> None:
    for _ in range(3):
        anyrerank.rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS, api_key=KEY, api_base=server.url)
    assert (len(server.hits), server.connections) == (3, 1)


def test_constructor_needs_no_key_and_sends_nothing(
    mode: Mode, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = mode.reranker(api_base=server.url, api_key=None)
    assert (server.hits, server.connections) == ([], 0)
    with pytest.raises(AuthenticationError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    monkeypatch.setenv("CO_API_KEY", KEY)
    assert indexes(mode.rerank(reranker, QUERY, DOCUMENTS)) == [1, 2, 0]


def test_response_has_ids_model_and_cost(mode: Mode) -> None:
    recorded = Replay(
        [{"response": {"status": 200, "headers": {"x-debug-trace-id": "t-1"}, "json": {"id": "c-1", **scored(1)}}}]
    )
    response = mode.rerank(mode.reranker(http_client=recorded.client(mode)), QUERY, ["a"])
    assert (response.id, response.request_id, response.provider, response.model) == (
        "c-1",
        "t-1",
        "cohere",
        "rerank-v3.5",
    )
    assert response.latency > 0
    assert (response.cost, response.cost_estimated) == (0.002, True)
    assert json.loads(response.model_dump_json())["results"] == [
        {"index": 0, "relevance_score": 1.0, "document": {"text": "a"}}
    ]


def test_connection_error_is_retried(mode: Mode, server: Loopback, waits: list[float]) -> None:
    server.script = Line.reset
    with pytest.raises(APIConnectionError):
        mode.rerank(mode.reranker(api_base=server.url, max_retries=3), QUERY, DOCUMENTS)
    assert (len(server.hits), len(waits)) == (4, 3)


def test_request_that_is_too_large_is_halved_if_a_document_has_the_same_words(mode: Mode) -> None:
    """Although the message quotes a document, which is removed from the error."""
    words = "maximum context length"
    documents = [f"on the {words} of a model", "on something else"]

    def answer(request: httpx.Request) -> httpx.Response:
        count = len(json.loads(request.content)["documents"])
        if count > 1:
            return httpx.Response(400, json={"message": f"the {words} is 4096 tokens"})
        return httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 0.5}]})

    client = mode.client(transport=httpx.MockTransport(answer))
    response = mode.rerank(mode.reranker(http_client=client), f"what is the {words}?", documents)
    assert sorted(response.results.indexes) == [0, 1]


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


@pytest.mark.parametrize(("queries", "documents"), [(3, []), ("q", ["d"]), (["q"], 3), (None, None), (["q"], [])])
def test_rerank_many_refuses_what_is_no_list_of_queries(queries: Any, documents: Any, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="needs a list of queries"):
        mode.rerank_many(mode.reranker("local/lexical"), queries, documents)
