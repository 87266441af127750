"""Requests to Vertex AI, and their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, answering, sent_by
from tests.unit.providers.vertex_ai.tokens import MODEL

from anyrerank import AuthenticationError, RateLimitError


@pytest.mark.parametrize(
    "model",
    [
        "semantic-ranker-default-004",
        "semantic-ranker-fast-003",
        "semantic-ranker-512@latest",
        "semantic-ranker-of-tomorrow",
    ],
)
@pytest.mark.parametrize(("documents", "cost"), [(1, 0.001), (100, 0.001), (101, 0.002)])
def test_every_model_has_the_list_price(model: str, documents: int, cost: float, mode: Mode) -> None:
    replay = answering({"records": [{"id": str(index), "score": 0.5} for index in range(documents)]})
    reranker = mode.reranker(f"vertex_ai/{model}", vertex_project="p-1", http_client=replay.client(mode))
    response = mode.rerank(reranker, QUERY, [f"city {index}" for index in range(documents)])
    assert response.cost == pytest.approx(cost)
    assert response.cost_estimated


def test_path_of_credentials_withholds_no_message(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/application_default_credentials.json")
    message = "Request had invalid authentication credentials"
    client = answering({"error": {"message": message}}, 401).client(mode)
    reranker = mode.reranker(MODEL, vertex_project="p-1", http_client=client)
    with pytest.raises(AuthenticationError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.message == f"Google Vertex AI answered 401: {message}"


def test_more_than_200_documents_are_split(mode: Mode) -> None:
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        records = json.loads(request.content)["records"]
        assert [record["id"] for record in records] == [str(index) for index in range(len(records))]
        asked.append(len(records))
        rows = [{"id": record["id"], "score": 1 / (500 - int(record["content"]))} for record in records]
        return httpx.Response(200, json={"records": rows[::-1]})

    client = mode.client(transport=httpx.MockTransport(answer))
    reranker = mode.reranker(MODEL, vertex_project="acme", http_client=client)
    response = mode.rerank(reranker, QUERY, [str(index) for index in range(401)])
    assert sorted(asked) == [1, 200, 200]
    assert [each.index for each in response.results] == list(range(400, -1, -1))
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.search_units == 2 + 2 + 1
    assert response.meta.estimated


@pytest.mark.parametrize(
    ("document", "options", "record"),
    [
        ("Ottawa", {}, {"content": "Ottawa"}),
        ({"text": "Ottawa", "title": "Canada", "url": "x"}, {}, {"title": "Canada", "content": "Ottawa"}),
        ({"text": "Ottawa", "title": None}, {}, {"content": "Ottawa"}),
        ({"text": "Ottawa", "title": 7}, {}, {"content": "Ottawa"}),
        ({"text": "Ottawa", "title": "Canada"}, {"rank_fields": ["text"]}, {"content": "text: Ottawa\n"}),
    ],
)
def test_record_holds_title_and_content(
    document: Any, options: dict[str, Any], record: Mapping[str, str], sync_mode: Mode
) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, [document], vertex_project="acme", **options).content)
    assert body["records"] == [{"id": "0", **record}]


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([{"retryDelay": "12s"}], {}, 12),
        ([{"reason": "x"}, {"retryDelay": "0.25s"}], {"retry-after": "9"}, 0.25),
        ([], {"retry-after": "9"}, 9),
        ([{"retryDelay": "-1s"}, {"retryDelay": None}, None], {"retry-after": "9"}, 9),
        ({"retryDelay": "12s"}, {}, None),
        ("12s", {}, None),
    ],
)
def test_retry_delay_in_the_body_takes_precedence(
    details: Any, headers: Mapping[str, str], seconds: float | None, mode: Mode
) -> None:
    body = {"error": {"code": 429, "message": "no more", "status": "RESOURCE_EXHAUSTED", "details": details}}
    replay = answering(body, 429, headers)
    reranker = mode.reranker(MODEL, vertex_project="acme", http_client=replay.client(mode))
    with pytest.raises(RateLimitError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.retry_after == seconds
