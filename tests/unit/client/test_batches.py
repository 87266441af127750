"""Calls that are sent in several requests."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import pytest
from tests.support.harness import Mode, leaks
from tests.support.loopback import MAX_WAIT, Line, Loopback, well
from tests.unit.client.calls import QUERY, fails, indexes, numbered

from anyrerank import (
    AuthenticationError,
    BadRequestError,
)


def test_2500_documents_are_sent_in_three_concurrent_requests(mode: Mode, server: Loopback) -> None:
    together = threading.Barrier(3)

    def script(line: Line) -> None:
        together.wait(MAX_WAIT)
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
        full.wait(MAX_WAIT)
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
        arrived.wait(MAX_WAIT)
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
    assert not mode.asynchronous or server.abandoned.wait(MAX_WAIT)


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
    server.script = lambda line: line.answer(400, {"message": "the input is too long"})
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


@pytest.mark.parametrize("message", ["query must not be empty", "model not found"])
def test_other_bad_request_is_not_halved(message: str, mode: Mode, server: Loopback) -> None:
    server.script = fails(400, {"message": message})
    with pytest.raises(BadRequestError, match=message):
        mode.rerank(mode.reranker(api_base=server.url), QUERY, numbered(8))
    assert len(server.hits) == 1


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
