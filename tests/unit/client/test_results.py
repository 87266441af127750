"""From scores to results: duplicates, blank documents, thresholds, scales."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from tests.support.harness import Mode, Replay
from tests.support.loopback import Loopback
from tests.unit.client.calls import DOCUMENTS, QUERY, fails, indexes, replay

from anyrerank import (
    BadRequestError,
)


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


def test_score_scale_that_is_known_to_be_another_is_refused(mode: Mode, server: Loopback) -> None:
    reranker = mode.reranker(api_base=server.url, score_mode="unit", score_scale="logit")
    with pytest.raises(BadRequestError, match="score_scale='logit' is not what the scores of cohere/"):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert server.hits == []


def test_score_scale_counts_where_the_scale_is_not_known(mode: Mode) -> None:
    own = scored(0.0, 7.0, -7.0)
    reranker = replay(mode, "hosted_vllm/m", own, api_base="https://own.test", fallbacks=["local/lexical"])
    found = mode.rerank(reranker, QUERY, DOCUMENTS, score_mode="unit", score_scale="logit")
    assert found.results.scores == pytest.approx((0.9990889, 0.5, 0.0009111), abs=1e-7)


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
