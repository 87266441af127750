"""What servers of the common dialects do, told to the user by results and errors."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.harness import Mode

from anyrerank import APIResponseValidationError, InternalServerError, Reranker, Router
from anyrerank.testing import Exchange, StubServer


@pytest.mark.parametrize("path", ["/api/v1/reranking", "/v1/reranks", "/endpoints/mine/invocations", "/x/rerank/"])
def test_full_url_is_not_extended(path: str, mode: Mode) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.respond(200, {"results": [{"index": 0, "relevance_score": 0.5}]})

    with StubServer(handler=handler) as server:
        mode.rerank(Reranker("jina_compatible/m", api_base=server.url + path), "q", ["a"])
    assert [request.target for request in server.requests] == [path.rstrip("/")]


def test_server_out_of_memory_gets_fewer_documents(mode: Mode) -> None:
    def handler(exchange: Exchange) -> None:
        documents = exchange.request.json["documents"]
        if len(documents) > 2:
            exchange.respond(500, {"detail": "CUDA out of memory"})
        else:
            rows = [{"index": index, "relevance_score": 0.5} for index in range(len(documents))]
            exchange.respond(200, {"results": rows})

    with StubServer(handler=handler) as server:
        response = mode.rerank(Reranker("cohere_compatible/m", api_base=server.url), "q", list("abcdefg"))
    assert {result.index for result in response.results} == set(range(7))
    sizes = [len(request.json["documents"]) for request in server.requests]
    assert sizes.count(7) == 1


def test_other_server_error_is_not_split(mode: Mode) -> None:
    with StubServer() as server:
        server.fail(500)
        with pytest.raises(InternalServerError):
            mode.rerank(Reranker("cohere_compatible/m", api_base=server.url, max_retries=0), "q", ["a", "b"])
    assert len(server.requests) == 1


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
    ],
)
def test_error_in_a_200_response_is_reported(body: dict[str, Any], mode: Mode) -> None:
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
