"""llama.cpp: status 500 for a text that is too long, which is an error of the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, leaks, sent_by
from tests.support.loopback import Line, Loopback, ranking

from anyrerank import BadRequestError, InternalServerError, RerankError

MODEL = "llama_cpp/qwen3-reranker-0.6b"
LONG = "Ottawa is the capital. " * 40


def failure(status: int, message: str, kind: str = "server_error") -> tuple[int, Any]:
    return status, {"error": {"code": status, "message": message, "type": kind}}


TOO_LARGE = [
    pytest.param(failure(500, "input is too large to process. increase the physical batch size"), id="older"),
    pytest.param(
        failure(500, "input (842 tokens) is too large to process. increase the physical batch size (512)"), id="batch"
    ),
    pytest.param(
        failure(
            400, "input (9000 tokens) is larger than the max context size (4096 tokens)", "exceed_context_size_error"
        ),
        id="context",
    ),
    pytest.param(
        failure(400, "request (9000 tokens) exceeds the available context size", "exceed_context_size_error"),
        id="request",
    ),
]


def refused(mode: Mode, base: str, documents: list[str], **options: Any) -> RerankError:
    with pytest.raises(RerankError) as caught:
        mode.rerank(mode.reranker(MODEL, api_base=base, max_retries=2, **options), QUERY, documents)
    return caught.value


@pytest.mark.parametrize("refusal", TOO_LARGE)
def test_single_text_that_is_too_long_is_sent_once(
    refusal: tuple[int, Any], serve: Callable[..., Loopback], mode: Mode, waits: list[float]
) -> None:
    server = serve(lambda line: line.answer(*refusal))
    error = refused(mode, server.url, [LONG])
    assert type(error) is BadRequestError
    assert error.message.startswith("documents[0] is too large for the provider")
    assert error.status_code == refusal[0]
    assert len(server.hits) == 1
    assert waits == []
    assert not leaks(error, [KEY, QUERY, LONG.strip()])


@pytest.mark.parametrize("refusal", TOO_LARGE)
def test_batch_is_halved_down_to_the_text_that_is_too_long(
    refusal: tuple[int, Any], serve: Callable[..., Loopback], mode: Mode, waits: list[float]
) -> None:
    def short_enough(line: Line) -> None:
        if LONG in line.hit.documents:
            line.answer(*refusal)
        else:
            line.answer(body=ranking(line.hit.documents))

    server = serve(short_enough)
    error = refused(mode, server.url, ["", *DOCUMENTS, LONG])
    assert type(error) is BadRequestError
    assert error.message.startswith("documents[4] is too large for the provider")
    assert [len(hit.documents) for hit in server.hits] == [4, 2, 2, 1, 1]
    assert waits == []


def test_halves_that_fit_are_merged(serve: Callable[..., Loopback], mode: Mode, waits: list[float]) -> None:
    def few_enough(line: Line) -> None:
        if len(line.hit.documents) > 2:
            line.answer(*failure(500, "input is too large to process. increase the physical batch size"))
            return
        line.answer(body={**ranking(line.hit.documents), "usage": {"prompt_tokens": 9, "total_tokens": 9}})

    server = serve(few_enough)
    documents = [f"Passage {index}" for index in (3, 0, 4, 1, 2)]
    response = mode.rerank(mode.reranker(MODEL, api_base=server.url, max_retries=2), QUERY, documents, top_n=3)
    assert [each.index for each in response.results] == [1, 3, 4]
    assert response.meta.tokens is not None
    assert response.meta.tokens.input_tokens == 27
    assert waits == []


@pytest.mark.parametrize(
    ("answer", "requests"),
    [
        (failure(500, "Failed to compute"), 3),
        (failure(503, "Loading model", "unavailable_error"), 3),
        (failure(501, "This server does not support reranking", "not_supported_error"), 1),
    ],
    ids=["500", "503", "501"],
)
def test_other_failures_are_retried_if_temporary(
    answer: tuple[int, Any], requests: int, serve: Callable[..., Loopback], mode: Mode, waits: list[float]
) -> None:
    server = serve(lambda line: line.answer(*answer))
    error = refused(mode, server.url, DOCUMENTS)
    assert type(error) is InternalServerError
    assert (error.status_code, len(server.hits), len(waits)) == (answer[0], requests, requests - 1)
    assert {len(hit.documents) for hit in server.hits} == {3}


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/v1/rerank"),
        ("/v1", "/v1/rerank"),
        ("/rerank", "/rerank"),
        ("/v1/rerank/", "/v1/rerank"),
        ("/reranking", "/reranking"),
        ("/v1/reranking", "/v1/reranking"),
        ("/proxy/v1/reranking/", "/proxy/v1/reranking"),
        ("/my-reranking", "/my-reranking/v1/rerank"),
    ],
)
@pytest.mark.parametrize("key", [None, KEY])
def test_path_and_key_header(path: str, target: str, key: str | None, sync_mode: Mode) -> None:
    request = sent_by(sync_mode, MODEL, api_base=f"http://llama.example:8080{path}", api_key=key)
    assert request.url.path == target
    assert request.headers.get("authorization") == (f"Bearer {key}" if key else None)
