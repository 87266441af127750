"""LiteLLM proxy: requests are forwarded to another model, with no key but the proxy's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, answering, credentials, sent_by
from tests.support.loopback import Line, Loopback, in_turn, ranking, well

from anyrerank import ConfigurationError, RateLimitError

MODEL = "litellm_proxy/our-reranker"
HOST = "http://proxy.example:4000"


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (HOST, f"{HOST}/v1/rerank"),
        (f"{HOST}//", f"{HOST}/v1/rerank"),
        (f"{HOST}/v1/", f"{HOST}/v1/rerank"),
        (f"{HOST}/v2", f"{HOST}/v2/rerank"),
        (f"{HOST}/rerank", f"{HOST}/rerank"),
        (f"{HOST}/v2/rerank/", f"{HOST}/v2/rerank"),
        (f"{HOST}/llm?t=1", f"{HOST}/llm/v1/rerank?t=1"),
    ],
)
def test_url_composition(base: str, url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base).url) == url


def test_missing_base_url_raises_before_sending(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COHERE_API_BASE", "CO_API_URL", "TOGETHER_BASE_URL"):
        monkeypatch.setenv(variable, "https://another.example")
    with pytest.raises(ConfigurationError, match="LITELLM_PROXY_API_BASE"):
        sent_by(mode, MODEL)


@pytest.mark.parametrize(
    "document",
    [
        {"text": "Ottawa", "page": 9, "tags": ["a", {"b": None}]},
        {"text": "Ottawa", "image": "https://pictures.example/flag.png"},
        MappingProxyType({"text": "Ottawa", "page": 9}),
        "Ottawa",
    ],
)
def test_documents_are_sent_whole(document: Any, mode: Mode) -> None:
    body = json.loads(sent_by(mode, MODEL, [document, "Lisbon"], api_base=HOST).content)
    assert body["documents"] == [document, "Lisbon"]
    assert "rank_fields" not in body


def test_rank_fields_are_sent(mode: Mode) -> None:
    documents = [{"title": "Ottawa", "year": 1857}, "Lisbon"]
    body = json.loads(sent_by(mode, MODEL, documents, api_base=HOST, rank_fields=("year", "title")).content)
    assert (body["documents"], body["rank_fields"]) == (documents, ["year", "title"])


def test_options_are_sent(mode: Mode) -> None:
    options: dict[str, Any] = {
        "truncate": "END",
        "instruction": "Find it",
        "max_tokens_per_doc": 9,
        "max_chunks_per_doc": 2,
    }
    body = json.loads(sent_by(mode, MODEL, api_base=HOST, top_n=2, **options).content)
    assert body == {
        "model": "our-reranker",
        "query": QUERY,
        "documents": DOCUMENTS,
        "top_n": 2,
        "return_documents": False,
        **options,
    }


def test_missing_key_sends_no_key_of_another_provider(
    mode: Mode, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in {*credentials(), "LITELLM_API_KEY", "LITELLM_MASTER_KEY", "OPENAI_API_KEY"}:
        if not variable.startswith("LITELLM_PROXY_"):
            monkeypatch.setenv(variable, KEY)
    server = serve()
    reranker = mode.reranker(MODEL, api_key=None, api_base=server.url)
    assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 3
    (hit,) = server.hits
    assert hit.target == "/v1/rerank"
    assert "authorization" not in hit.headers
    assert KEY.encode() not in hit.raw


def test_null_meta_gives_no_usage(mode: Mode) -> None:
    rows = [{"index": index, "relevance_score": 0.5, "document": None} for index in range(3)]
    meta = {"api_version": None, "billed_units": {"search_units": None, "total_tokens": None}, "tokens": None}
    replay = answering({"id": None, "results": rows, "meta": {**meta, "warnings": None}})
    reranker = mode.reranker(MODEL, api_base=HOST, http_client=replay.client(mode))
    response = mode.rerank(reranker, QUERY, DOCUMENTS)
    assert response.meta == {}
    assert response.id.startswith("rerank-")
    assert [each.document for each in response.results] == [{"text": text} for text in DOCUMENTS]


def limited(line: Line) -> None:
    body = {"error": {"message": "No deployments available", "type": "None", "param": "None", "code": "429"}}
    line.answer(429, body, {"retry-after": "6", "x-litellm-call-id": "call-1"})


def called(line: Line) -> None:
    line.answer(body=ranking(line.hit.documents), headers={"x-litellm-call-id": "call-2"})


def test_call_id_is_the_request_id_and_retry_after_is_respected(
    mode: Mode, serve: Callable[..., Loopback], waits: list[float]
) -> None:
    server = serve(in_turn(limited, called))
    response = mode.rerank(mode.reranker(MODEL, api_base=server.url, max_retries=1), QUERY, DOCUMENTS)
    assert response.request_id == "call-2"
    assert response.id == "loopback"
    assert [attempt.status for attempt in response.attempts] == [429, 200]
    assert waits == [6.0]


def test_error_has_call_id_and_retry_after(mode: Mode, serve: Callable[..., Loopback]) -> None:
    server = serve(limited)
    with pytest.raises(RateLimitError, match="No deployments available") as caught:
        mode.rerank(mode.reranker(MODEL, api_base=server.url), QUERY, DOCUMENTS)
    assert (caught.value.request_id, caught.value.retry_after) == ("call-1", 6.0)


@pytest.mark.parametrize("top_n", [None, 2])
def test_order_and_top_n_are_applied_locally(top_n: int | None, mode: Mode, serve: Callable[..., Loopback]) -> None:
    def unsorted(line: Line) -> None:
        answer = ranking(line.hit.documents)
        line.answer(body={"results": answer["results"][::-1]})

    documents = [f"document {number}" for number in (2, 0, 1)]
    orders = []
    for script in (unsorted, well):
        reranker = mode.reranker(MODEL, api_base=serve(script).url)
        orders.append([each.index for each in mode.rerank(reranker, QUERY, documents, top_n=top_n).results])
    assert orders == [[1, 2, 0][:top_n]] * 2
