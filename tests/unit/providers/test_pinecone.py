"""Pinecone: headers for key and version, and documents that are objects."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, answering, leaks, sent_by

from anyrerank import RerankError
from anyrerank._core.engine import connect

MODEL = "pinecone/bge-reranker-v2-m3"


def test_key_and_version_headers_are_sent(mode: Mode) -> None:
    request = sent_by(mode, MODEL)
    assert request.headers["api-key"] == KEY
    assert request.headers["x-pinecone-api-version"] == "2026-07"
    assert "authorization" not in request.headers
    assert str(request.url) == "https://api.pinecone.io/rerank"


@pytest.mark.parametrize("name", ["X-Pinecone-Api-Version", "x-pinecone-api-version"])
def test_api_version_header_can_be_replaced(name: str, mode: Mode) -> None:
    request = sent_by(mode, MODEL, headers={name: "2025-04"})
    assert request.headers.get_list("x-pinecone-api-version") == ["2025-04"]


@pytest.mark.parametrize("name", ["Api-Key", "api-key", "Authorization"])
def test_auth_header_of_the_caller_replaces_the_key(name: str, mode: Mode) -> None:
    request = sent_by(mode, MODEL, api_key=None, headers={name: "own-pinecone-key"})
    sent = {each: request.headers.get(each) for each in ("api-key", "authorization")}
    assert sent == {"api-key": None, "authorization": None, name.lower(): "own-pinecone-key"}


def test_key_in_a_header_is_secret_and_not_part_of_the_identity(mode: Mode) -> None:
    replay = answering("Key own-pinecone-key is not known", 401)
    options = {"api_key": None, "headers": {"Api-Key": "own-pinecone-key"}, "http_client": replay.client(mode)}
    with pytest.raises(RerankError, match="withheld") as caught:
        mode.rerank(mode.reranker(MODEL, **options), QUERY, DOCUMENTS)
    assert not leaks(caught.value, ["own-pinecone-key"])
    first, second = (connect(MODEL, headers={"Api-Key": key}).identity for key in ("one", "another"))
    assert first == second


def test_message_that_quotes_the_key_is_withheld(mode: Mode) -> None:
    replay = answering(f"Key {KEY} is not known", 401)
    with pytest.raises(RerankError, match="withheld") as caught:
        mode.rerank(mode.reranker(MODEL, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert not leaks(caught.value, [KEY])


CITY = {"text": "Ottawa", "country": "Canada", "year": 1857}


@pytest.mark.parametrize(
    ("documents", "options", "sent", "fields"),
    [
        (DOCUMENTS, {}, [{"text": text} for text in DOCUMENTS], ["text"]),
        ([CITY, "Lisbon"], {}, [CITY, {"text": "Lisbon"}], ["text"]),
        ([CITY, "Lisbon"], {"rank_fields": ["text"]}, [CITY, {"text": "Lisbon"}], ["text"]),
        ([CITY], {"rank_fields": ["country", "text"]}, [CITY], ["country", "text"]),
        ([{"country": "Canada"}], {"rank_fields": ("country",)}, [{"country": "Canada"}], ["country"]),
        (["", CITY, " "], {}, [CITY], ["text"]),
    ],
)
def test_documents_are_sent_as_objects(
    documents: Any, options: dict[str, Any], sent: Any, fields: Any, mode: Mode
) -> None:
    body = json.loads(sent_by(mode, MODEL, documents, **options).content)
    assert body == {
        "model": "bge-reranker-v2-m3",
        "query": QUERY,
        "documents": sent,
        "return_documents": False,
        "rank_fields": fields,
    }


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({"truncate": "END"}, {"parameters": {"truncate": "END"}}),
        ({"truncate": "NONE", "top_n": 2}, {"parameters": {"truncate": "NONE"}, "top_n": 2}),
        ({"truncate": False}, {"parameters": {"truncate": "NONE"}}),
        ({"truncate": None}, {}),
    ],
)
def test_truncate_is_sent_under_parameters(options: dict[str, Any], more: dict[str, Any], sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, **options).content)
    assert {name: body[name] for name in body if name in ("parameters", "truncate", "top_n")} == more


@pytest.mark.parametrize(
    ("model", "limit"),
    [("bge-reranker-v2-m3", 100), ("pinecone-rerank-v0", 100), ("cohere-rerank-3.5", None), ("of-the-future", None)],
)
def test_documents_are_split_by_the_limit_of_the_model(model: str, limit: int | None, mode: Mode) -> None:
    assert connect(f"pinecone/{model}").max_documents({}) == limit
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        texts = [int(document["text"]) for document in json.loads(request.content)["documents"]]
        asked.append(len(texts))
        rows = [{"index": index, "score": 1 / (1000 - text)} for index, text in enumerate(texts)]
        return httpx.Response(200, json={"data": rows[::-1], "usage": {"rerank_units": 1}})

    client = mode.client(transport=httpx.MockTransport(answer))
    reranker = mode.reranker(f"pinecone/{model}", http_client=client)
    response = mode.rerank(reranker, QUERY, [str(index) for index in range(250)])
    assert sorted(asked) == ([50, 100, 100] if limit else [250])
    assert [each.index for each in response.results] == list(range(249, -1, -1))
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.search_units == len(asked)


@pytest.mark.parametrize("usage", [None, {}, {"rerank_units": None}, {"rerank_units": "1"}, {"rerank_units": -1}, 3])
def test_malformed_units_give_no_usage(usage: Any, mode: Mode) -> None:
    replay = answering({"data": [{"index": 0, "score": 0.5}], "usage": usage})
    response = mode.rerank(mode.reranker(MODEL, http_client=replay.client(mode)), QUERY, DOCUMENTS[:1])
    assert response.meta.billed_units is None
    assert not response.meta.estimated


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"code": "INVALID_ARGUMENT", "message": "says why", "details": {}}, "status": 400}, "says why"),
        ({"error": {"code": "INVALID_ARGUMENT", "message": "says why"}}, "says why"),
        ("says why", "says why"),
    ],
)
def test_error_message_is_read(body: Any, message: str, mode: Mode) -> None:
    reranker = mode.reranker(MODEL, http_client=answering(body, 400).client(mode))
    with pytest.raises(RerankError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.message == f"Pinecone answered 400: {message}"
