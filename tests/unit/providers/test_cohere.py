"""Cohere: two API versions, selected by the URL and by the options."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, answering, sent_by

from anyrerank import APIResponseValidationError, BadRequestError, RerankResponse
from anyrerank._core.engine import connect

MODEL = "cohere/rerank-v3.5"
HOST = "https://gw.example"


@pytest.mark.parametrize(
    ("base", "plain", "with_chunks"),
    [
        (None, "https://api.cohere.com/v2/rerank", "https://api.cohere.com/v1/rerank"),
        ("https://api.cohere.ai/", "https://api.cohere.ai/v2/rerank", "https://api.cohere.ai/v1/rerank"),
        (HOST, f"{HOST}/v2/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}///", f"{HOST}/v2/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}/v1", f"{HOST}/v1/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}/v1/", f"{HOST}/v1/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}/v1/rerank/", f"{HOST}/v1/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}/a/b", f"{HOST}/a/b/v2/rerank", f"{HOST}/a/b/v1/rerank"),
        (f"{HOST}/a/v1", f"{HOST}/a/v1/rerank", f"{HOST}/a/v1/rerank"),
        (f"{HOST}/my-v1", f"{HOST}/my-v1/v2/rerank", f"{HOST}/my-v1/v1/rerank"),
        (f"{HOST}?t=1", f"{HOST}/v2/rerank?t=1", f"{HOST}/v1/rerank?t=1"),
        (f"{HOST}/v1/rerank?t=1&u=2", f"{HOST}/v1/rerank?t=1&u=2", f"{HOST}/v1/rerank?t=1&u=2"),
        ("http://localhost:8080/v1", "http://localhost:8080/v1/rerank", "http://localhost:8080/v1/rerank"),
    ],
)
def test_url_composition(base: str | None, plain: str, with_chunks: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base).url) == plain
    assert str(sent_by(sync_mode, MODEL, api_base=base, max_chunks_per_doc=3).url) == with_chunks


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        (f"{HOST}/v2", {"max_chunks_per_doc": 3}, "max_chunks_per_doc: not in Cohere's v2 API"),
        (f"{HOST}/v2/rerank", {"max_chunks_per_doc": 3}, "max_chunks_per_doc: not in Cohere's v2 API"),
        (f"{HOST}/v1", {"relevant_spans": True}, "relevant_spans: not in Cohere's v1 API"),
        (f"{HOST}/v1", {"priority": 0}, "priority: not in Cohere's v1 API"),
        (HOST, {"max_chunks_per_doc": 3, "priority": 1}, "priority: not in Cohere's v1 API"),
        (HOST, {"max_chunks_per_doc": 0}, "max_chunks_per_doc must be"),
        (HOST, {"max_tokens_per_doc": 1.5}, "max_tokens_per_doc must be"),
        (HOST, {"max_tokens_per_doc": True}, "max_tokens_per_doc must be"),
        (HOST, {"priority": -1}, "priority must be"),
        (HOST, {"priority": "high"}, "priority must be"),
    ],
)
def test_wrong_option_raises_before_sending(base: str, options: dict[str, Any], message: str, mode: Mode) -> None:
    replay = Replay([])
    with pytest.raises(BadRequestError, match=message):
        mode.rerank(mode.reranker(MODEL, api_base=base, http_client=replay.client(mode), **options), QUERY, DOCUMENTS)
    assert replay.seen == []


def test_documents_for_v1_are_cut_here(sync_mode: Mode) -> None:
    options: dict[str, Any] = {"api_base": f"{HOST}/v1", "max_tokens_per_doc": 3, "rank_fields": ["title", "text"]}
    body = json.loads(sent_by(sync_mode, MODEL, [{"title": "Ottawa", "text": "A city.", "page": 3}], **options).content)
    assert body["documents"] == [{"title": "Ottawa", "text": "A c", "page": 3}]
    assert "max_tokens_per_doc" not in body


@pytest.mark.parametrize(("base", "whole"), [(f"{HOST}/v1", True), (f"{HOST}/v2", False)])
def test_mappings_and_rank_fields_are_sent_whole_only_to_v1(base: str, whole: bool, sync_mode: Mode) -> None:
    documents = [{"title": "Ottawa", "year": 1857, "text": "A city."}]
    request = sent_by(sync_mode, MODEL, documents, api_base=base, rank_fields=["year", "title", "absent"])
    body = json.loads(request.content)
    assert body["documents"] == (documents if whole else ["year: 1857\ntitle: Ottawa\n"])
    assert body.get("rank_fields") == (["year", "title", "absent"] if whole else None)


def test_return_documents_is_not_sent(sync_mode: Mode) -> None:
    for base in (f"{HOST}/v1", f"{HOST}/v2"):
        body = json.loads(sent_by(sync_mode, MODEL, api_base=base, return_documents=True).content)
        assert body.keys() == {"model", "query", "documents"}


@pytest.mark.parametrize(
    ("base", "options", "limit"),
    [
        (HOST, {}, 1000),
        (f"{HOST}/v1", {}, 999),
        (HOST, {"max_chunks_per_doc": 1}, 1000),
        (HOST, {"max_chunks_per_doc": 100}, 99),
        (HOST, {"max_chunks_per_doc": 50_000}, 1),
    ],
)
def test_max_documents_depends_on_version_and_chunks(base: str, options: dict[str, Any], limit: int) -> None:
    found = connect(MODEL, api_base=base).max_documents(options)
    assert found == limit
    # v1 wants the product of the two below 10,000, save where one document alone is above it
    if "max_chunks_per_doc" in options and found > 1:
        assert found * options["max_chunks_per_doc"] < 10_000


# Relevant spans

SPANS = [{"start": 0, "end": 6, "score": 0.9}, {"start": 10, "end": 33, "score": 0.4}]


def spanning(rows: dict[int, Any]) -> dict[str, Any]:
    """An answer in which some documents have spans."""
    results: list[dict[str, Any]] = [{"index": n, "relevance_score": 0.9 - n / 10} for n in range(len(DOCUMENTS))]
    for index, spans in rows.items():
        results[index]["relevant_spans"] = spans
    return {"results": results}


@pytest.mark.parametrize("model", ["cohere/rerank-v5.0-pro", "azure_ai/cohere-rerank-v5-pro", "cohere_compatible/m"])
def test_relevant_spans_are_asked_for_and_returned(model: str, mode: Mode) -> None:
    replay = answering(spanning({1: SPANS, 2: []}))
    reranker = mode.reranker(model, api_base=f"{HOST}/v2", http_client=replay.client(mode))
    response = mode.rerank(reranker, QUERY, DOCUMENTS, relevant_spans={"threshold": 0.3, "max_spans": 2})
    wanted = {"mode": "enabled", "threshold": 0.3, "max_spans": 2}
    assert json.loads(replay.seen[0].content)["relevant_spans"] == wanted
    assert [result.relevant_spans for result in response.results] == [None, SPANS, None]
    assert ["relevant_spans" in result for result in response.results] == [False, True, False]
    assert response.results[1] == {
        "index": 1,
        "relevance_score": pytest.approx(0.8),
        "document": {"text": DOCUMENTS[1]},
        "relevant_spans": SPANS,
    }
    assert response.to_cohere()["results"][1]["relevant_spans"] == SPANS
    again = RerankResponse.model_validate_json(response.model_dump_json())
    assert again == response
    assert again.ranking.spans == {1: SPANS}


def test_spans_belong_to_their_document_in_batches_copies_and_cuts(mode: Mode) -> None:
    def row(request: httpx.Request) -> httpx.Response:
        texts = json.loads(request.content)["documents"]
        rows = [
            {
                "index": index,
                "relevance_score": len(text) / 100,
                "relevant_spans": [{"start": 0, "end": len(text), "score": 1}],
            }
            for index, text in enumerate(texts)
        ]
        return httpx.Response(200, json={"results": rows})

    client = mode.client(transport=httpx.MockTransport(row))
    reranker = mode.reranker("cohere/rerank-v5.0-fast", http_client=client, dedupe=True, batch_size=2)
    documents = ["a", "", "ccc", "a", "eeeee", "dddd"]
    response = mode.rerank(reranker, QUERY, documents, relevant_spans=True, top_n=5)
    assert [result.index for result in response.results] == [4, 5, 2, 0, 3]
    assert [span["end"] for result in response.results for span in result.relevant_spans or ()] == [5, 4, 3, 1, 1]
    assert set(response.ranking.spans) == {0, 2, 3, 4, 5}


def test_spans_that_were_not_asked_for_are_not_read(mode: Mode) -> None:
    replay = answering(spanning({1: "nonsense"}))
    reranker = mode.reranker(MODEL, http_client=replay.client(mode))
    assert mode.rerank(reranker, QUERY, DOCUMENTS).results[1].relevant_spans is None


@pytest.mark.parametrize(
    "spans",
    [
        "0-6",
        [[0, 6]],
        [{"start": 0, "score": 0.5}],
        [{"start": 0.5, "end": 6, "score": 0.5}],
        [{"start": 6, "end": 0, "score": 0.5}],
        [{"start": -1, "end": 6, "score": 0.5}],
        [{"start": 0, "end": 6, "score": None}],
    ],
)
def test_malformed_span_is_an_error_that_names_it(spans: Any, mode: Mode) -> None:
    replay = answering(spanning({1: spans}))
    reranker = mode.reranker(MODEL, http_client=replay.client(mode), relevant_spans=True)
    with pytest.raises(APIResponseValidationError, match=r"results\[1\].relevant_spans"):
        mode.rerank(reranker, QUERY, DOCUMENTS)


@pytest.mark.parametrize(("given", "sent"), [(True, "enabled"), (False, "disabled")])
def test_relevant_spans_may_be_a_bool(given: bool, sent: str, sync_mode: Mode) -> None:
    assert json.loads(sent_by(sync_mode, MODEL, relevant_spans=given).content)["relevant_spans"] == {"mode": sent}


@pytest.mark.parametrize("given", ["enabled", 3, ["a"]])
def test_wrong_relevant_spans_raise_before_sending(given: Any, sync_mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="relevant_spans must be True or a mapping") as caught:
        sent_by(sync_mode, MODEL, relevant_spans=given)
    assert caught.value.status_code is None
