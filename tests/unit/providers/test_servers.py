"""What servers of the common dialects do, told to the user by results and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import Mode

from anyrerank import APIResponseValidationError, BadRequestError, InternalServerError, Reranker, Router
from anyrerank.testing import Exchange, StubServer


@pytest.mark.parametrize("path", ["/api/v1/reranking", "/v1/reranks", "/endpoints/mine/invocations", "/x/rerank/"])
def test_full_url_is_not_extended(path: str, mode: Mode) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.respond(200, {"results": [{"index": 0, "relevance_score": 0.5}]})

    with StubServer(handler=handler) as server:
        mode.rerank(Reranker("jina_compatible/m", api_base=server.url + path), "q", ["a"])
    assert [request.target for request in server.requests] == [path.rstrip("/")]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "CUDA out of memory"),
        (503, "CUDA error: out of memory"),
        (500, "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2 GiB"),
        (500, "MPS backend out of memory"),
        (500, "DefaultCPUAllocator: can't allocate memory"),
        (500, "CUBLAS_STATUS_ALLOC_FAILED"),
        (500, "input is too large to process. increase the physical batch size"),
        (400, "only 2 documents are supported"),
        (400, "inputs must have less than 512 tokens"),
        (422, "documents.length should be less than or equal to 2"),
        (422, "the number of documents should be between 1 and 2"),
        (400, "the request contains 7 documents; reduce it to 2 or fewer"),
        (400, "Please reduce the length of the documents"),
        (400, "7 sources, maximum 2"),
        (400, "token count 9000 is above 8192"),
        (400, "9000 tokens are over the limit"),
        (400, "文档数量超过限制"),
    ],
)
def test_server_with_too_little_room_gets_fewer_documents(status: int, words: str, mode: Mode) -> None:
    def handler(exchange: Exchange) -> None:
        documents = exchange.request.json["documents"]
        if len(documents) > 2:
            exchange.respond(status, {"detail": words})
        else:
            rows = [{"index": index, "relevance_score": 0.5} for index in range(len(documents))]
            exchange.respond(200, {"results": rows})

    with StubServer(handler=handler) as server:
        response = mode.rerank(Reranker("cohere_compatible/m", api_base=server.url), "q", list("abcdefg"))
    assert {result.index for result in response.results} == set(range(7))
    sizes = [len(request.json["documents"]) for request in server.requests]
    assert sizes.count(7) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "something broke"),
        (500, "upstream time limit exceeded"),
        (500, "deadline exceeded"),
        (400, "you exceeded your current quota"),
        (400, "top_n must be less than 100"),
        (400, "there is no such model"),
    ],
)
def test_other_error_is_not_split(status: int, words: str, mode: Mode) -> None:
    kinds = (BadRequestError, InternalServerError)
    with StubServer(handler=lambda exchange: exchange.respond(status, {"detail": words})) as server:
        reranker = Reranker("cohere_compatible/m", api_base=server.url, max_retries=0)
        with pytest.raises(kinds):
            mode.rerank(reranker, "q", ["a", "b"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [{}, [], None])
def test_error_without_words_says_so(body: Any, sync_mode: Mode) -> None:
    with StubServer(handler=lambda exchange: exchange.respond(400, body)) as server:
        reranker = Reranker("cohere_compatible/m", api_base=server.url)
        with pytest.raises(BadRequestError, match="answered 400: no message"):
            sync_mode.rerank(reranker, "q", ["a"])


@pytest.mark.parametrize(
    "body",
    [
        {"error": "there is no credit"},
        {"error": {"message": "there is no credit", "code": "no_credit"}},
        {"code": 30001, "message": "there is no credit", "data": None},
        {"success": False, "msg": "there is no credit"},
        {"error_code": 17, "error_msg": "there is no credit"},
        {"base_resp": {"status_code": 1008, "status_msg": "there is no credit"}},
        {"status": "error", "detail": {"message": "there is no credit"}},
        {"status": {"code": 7, "message": "there is no credit"}},
        {"fault": {"faultstring": "there is no credit", "detail": {"errorcode": "x"}}},
        {"error": None, "error_description": "there is no credit"},
        {"success": False, "errors": [{"code": 7, "message": "there is no credit"}]},
        {"code": 500, "data": {"message": "there is no credit"}},
        [{"error": {"message": "there is no credit"}}],
        {"error": {"error": {"message": "there is no credit"}}},
        {"result": {"error": "there is no credit"}, "status_code": 500},
        {"output": {"code": "X", "message": "there is no credit"}},
        {"exception": "there is no credit"},
        "there is no credit",
        json.dumps("there is no credit"),
    ],
)
def test_error_in_a_200_response_is_reported(body: Any, mode: Mode) -> None:
    with StubServer(handler=lambda exchange: exchange.respond(200, body)) as server:
        reranker = Reranker("cohere_compatible/m", api_base=server.url)
        with pytest.raises(APIResponseValidationError, match="the response reports: there is no credit"):
            mode.rerank(reranker, "a question", ["a document"])


def test_error_in_a_200_response_that_quotes_a_document_is_withheld(mode: Mode) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.respond(200, {"error": f"cannot rank {exchange.request.json['documents'][0]}"})

    with StubServer(handler=handler) as server, pytest.raises(APIResponseValidationError) as caught:
        mode.rerank(Reranker("cohere_compatible/m", api_base=server.url), "a question", ["a secret document text"])
    assert "secret document" not in str(caught.value)


def test_cohere_chat_in_a_router_is_cohere(mode: Mode) -> None:
    with StubServer() as server:
        params = {"model": "cohere_chat/rerank-v3.5", "api_key": "key", "api_base": server.url}
        router = Router([{"model_name": "best", "litellm_params": params, "model_info": {"mode": "rerank"}}])
        assert len(mode.rerank(router.as_reranker("best"), "q", ["a"]).results) == 1
    assert server.requests[0].json["model"] == "rerank-v3.5"


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"index": 7, "relevance_score": 0.5}, "index is not an integer from 0 to 0 but 7"),
        ({"index": True, "relevance_score": 0.5}, "from 0 to 0 but true"),
        ({"index": "a secret", "relevance_score": 0.5}, "from 0 to 0 but a string"),
        ({"relevance_score": 0.5}, "from 0 to 0 but missing"),
        ({"index": 0, "relevance_score": None}, "relevance_score is not a number but null"),
        ({"index": 0, "relevance_score": "a secret"}, "is not a number but a string"),
        ({"index": 0, "points": 0.5}, "relevance_score is missing"),
    ],
)
def test_wrong_value_in_an_answer_is_shown_unless_it_is_a_text(row: dict[str, Any], what: str, sync_mode: Mode) -> None:
    with StubServer(handler=lambda exchange: exchange.respond(200, {"results": [row]})) as server:
        reranker = Reranker("cohere_compatible/m", api_base=server.url)
        with pytest.raises(APIResponseValidationError, match=what) as caught:
            sync_mode.rerank(reranker, "q", ["a"])
    assert "a secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("score", "named"), [("NaN", "nan"), ("Infinity", "inf"), ("nan", "nan"), ("-nan(ind)", "nan"), ("inf", "nan")]
)
def test_score_that_is_no_number_is_named(score: str, named: str, sync_mode: Mode) -> None:
    body = f'{{"results": [{{"index": 0, "relevance_score": {score}}}]}}'
    with StubServer(handler=lambda exchange: exchange.respond(200, body)) as server:
        reranker = Reranker("cohere_compatible/m", api_base=server.url)
        with pytest.raises(APIResponseValidationError, match=f"relevance_score is not finite but {named}"):
            sync_mode.rerank(reranker, "q", ["a"])


def test_error_after_several_attempts_says_how_many(mode: Mode, waits: list[float]) -> None:
    with StubServer() as server:
        server.fail(503)
        reranker = Reranker("cohere_compatible/m", api_base=server.url, max_retries=2)
        with pytest.raises(InternalServerError, match="attempts=3"):
            mode.rerank(reranker, "q", ["a"])
    assert len(waits) == 2
