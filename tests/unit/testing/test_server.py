"""The stub server: every common dialect, recorded requests and failures, over real connections."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.support.harness import KEY, Mode

from anyrerank import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    InternalServerError,
    RateLimitError,
)
from anyrerank.testing import Exchange, StubServer

QUERY = "Which planet is red?"
DOCUMENTS = ["Venus is hot.", "Mars is the red planet.", "A planet is round."]
ROWS = [(1, 0.75), (2, 0.5)]

MODELS = [
    "cohere/rerank-v3.5",
    "cohere_compatible/m",
    "fireworks_ai/m",
    "hosted_vllm/m",
    "huggingface/m",
    "infinity/m",
    "jina_ai/jina-reranker-v2-base-multilingual",
    "jina_compatible/m",
    "litellm_proxy/m",
    "llama_cpp/m",
    "nvidia_nim/ranking/m",
    "together_ai/m",
    "voyage/rerank-2.5",
]


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.mark.parametrize("model", MODELS)
def test_the_answer_is_in_the_dialect_of_the_request(model: str, stub: StubServer, mode: Mode) -> None:
    response = mode.rerank(mode.reranker(model, api_base=stub.url), QUERY, DOCUMENTS, top_n=2)
    assert [(each.index, each.relevance_score) for each in response.results] == ROWS
    (request,) = stub.requests
    assert request.method == "POST"
    assert KEY in request.headers["authorization"]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_rows_and_usage_are_where_cohere_and_where_voyage_have_them(path: str, stub: StubServer) -> None:
    body = {"model": "m", "query": QUERY, "documents": DOCUMENTS, "top_n": 1}
    answer = httpx.post(stub.url + path, json=body).json()
    assert answer["results"] == answer["data"] == [{"index": 1, "relevance_score": 0.75}]
    assert answer["meta"]["billed_units"]["search_units"] == 1
    assert answer["usage"]["total_tokens"] > 0


def test_tei_is_answered_with_a_bare_list(stub: StubServer) -> None:
    answer = httpx.post(f"{stub.url}/rerank", json={"query": QUERY, "texts": DOCUMENTS}).json()
    assert answer[0] == {"index": 1, "score": 0.75}


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "GET", "url": "/info"},
        {"method": "POST", "url": "/rerank", "content": b"{"},
        {"method": "POST", "url": "/rerank", "json": {"query": "no documents"}},
        {"method": "POST", "url": "/rerank", "json": ["no object"]},
    ],
    ids=lambda request: request["method"] + request["url"],
)
def test_a_request_that_is_not_for_reranking_is_not_found(request_: dict[str, Any], stub: StubServer) -> None:
    given = {**request_, "url": stub.url + request_["url"]}
    assert httpx.request(**given).status_code == 404
    assert len(stub.requests) == 1


def test_scores_may_be_a_mapping_and_documents_objects(mode: Mode) -> None:
    with StubServer({"b": 3.0, "a": -1.0}) as stub:
        reranker = mode.reranker("nvidia_nim/ranking/m", api_base=stub.url)
        response = mode.rerank(reranker, QUERY, [{"text": "a"}, "b"])
    assert response.results.scores == (3.0, -1.0)
    assert stub.requests[0].json["passages"] == [{"text": "a"}, {"text": "b"}]


def test_a_status_with_headers_is_answered_n_times(stub: StubServer, mode: Mode, waits: list[float]) -> None:
    stub.fail(429, times=2, headers={"retry-after": "7"})
    stub.fail(503, times=1)
    response = mode.rerank(mode.reranker(api_base=stub.url, max_retries=3, timeout=None), QUERY, DOCUMENTS)
    assert [attempt.status for attempt in response.attempts] == [429, 429, 503, 200]
    assert waits[:2] == [7.0, 7.0]
    assert len(stub.requests) == 4


def test_a_failure_without_times_lasts_until_recover(stub: StubServer, mode: Mode) -> None:
    reranker = mode.reranker(api_base=stub.url)
    stub.fail(500, body={"message": "out of memory"})
    for _ in range(2):
        with pytest.raises(InternalServerError, match="out of memory"):
            mode.rerank(reranker, QUERY, DOCUMENTS)
    stub.recover()
    assert mode.rerank(reranker, QUERY, DOCUMENTS).results.indexes == (1, 2, 0)


def test_the_connection_is_closed_without_an_answer(stub: StubServer, mode: Mode) -> None:
    stub.fail("disconnect", times=1)
    reranker = mode.reranker(api_base=stub.url)
    with pytest.raises(APIConnectionError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert mode.rerank(reranker, QUERY, DOCUMENTS).results.indexes == (1, 2, 0)


def test_garbage_is_an_answer_that_fails_validation(stub: StubServer, mode: Mode) -> None:
    stub.fail("garbage", times=1)
    with pytest.raises(APIResponseValidationError) as caught:
        mode.rerank(mode.reranker(api_base=stub.url), QUERY, DOCUMENTS)
    assert caught.value.status_code == 200


def test_a_request_that_hangs_times_out(stub: StubServer, mode: Mode) -> None:
    stub.fail("hang", times=1)
    with pytest.raises(APITimeoutError):
        mode.rerank(mode.reranker(api_base=stub.url, timeout=0.05), QUERY, DOCUMENTS)


def test_recover_answers_the_requests_that_hang(stub: StubServer, sync_mode: Mode) -> None:
    stub.fail("hang")
    reranker = sync_mode.reranker(api_base=stub.url)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(reranker.rerank, QUERY, DOCUMENTS) for _ in range(2)]
        assert stub.wait_for_requests(2)
        assert not any(future.done() for future in waiting)
        stub.recover()
        assert [future.result(10).results.indexes for future in waiting] == [(1, 2, 0)] * 2


def test_close_ends_a_request_that_hangs(sync_mode: Mode) -> None:
    stub = StubServer()
    stub.fail("hang")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sync_mode.reranker(api_base=stub.url).rerank, QUERY, DOCUMENTS)
        assert stub.wait_for_requests(1)
        stub.close()
        assert isinstance(waiting.exception(10), APIConnectionError)


def test_a_handler_answers_as_it_likes(mode: Mode) -> None:
    def handler(exchange: Exchange) -> None:
        if exchange.number == 0:
            exchange.respond(429, {"message": "slow down"}, {"retry-after": "0"})
        else:
            exchange.rank()

    with StubServer(handler=handler) as stub:
        response = mode.rerank(mode.reranker(api_base=stub.url, max_retries=1), QUERY, DOCUMENTS)
    assert [attempt.error for attempt in response.attempts] == [RateLimitError.__name__, None]


def test_an_error_of_a_handler_is_raised_by_close(mode: Mode) -> None:
    def handler(exchange: Exchange) -> None:
        raise LookupError("made by the test")

    stub = StubServer(handler=handler)
    with pytest.raises(APIConnectionError):
        mode.rerank(mode.reranker(api_base=stub.url), QUERY, DOCUMENTS)
    with pytest.raises(LookupError):
        stub.close()


@pytest.mark.parametrize("how", ["explode", None, True, 0, 100, 600])
def test_fail_with_an_unknown_way_is_refused(how: Any, stub: StubServer) -> None:
    with pytest.raises(ValueError, match="disconnect, hang, garbage"):
        stub.fail(how)


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_a_body_leaves_the_connection_usable(status: int, stub: StubServer) -> None:
    stub.fail(status, times=1)
    with httpx.Client(base_url=stub.url) as client:
        bare = client.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS})
        answer = client.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS})
    assert (bare.status_code, bare.content, answer.status_code) == (status, b"", 200)
    assert len({request.connection for request in stub.requests}) == 1


def test_scores_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="scores must be a mapping from text to score, or a function, got list"):
        StubServer([0.5])  # type: ignore[arg-type]
