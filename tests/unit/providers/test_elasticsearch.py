"""Elasticsearch: API keys, logins, inference ids, and numbers in strings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering, leaks, sent_by

from anyrerank import APIResponseValidationError, ConfigurationError, RerankError

MODEL = "elasticsearch/my-rerank"
BASE = "https://es.example:9243"


def test_api_key_is_sent_with_its_scheme(mode: Mode) -> None:
    request = sent_by(mode, MODEL, api_base=BASE)
    assert request.headers["authorization"] == f"ApiKey {KEY}"
    assert [name for name, value in request.headers.items() if KEY in value] == ["authorization"]


def test_login_in_the_base_url_is_sent_as_basic_auth(mode: Mode) -> None:
    replay = answering({"error": {"type": "security_exception", "reason": "ann with p%40ss, p@ss is nobody"}}, 401)
    reranker = mode.reranker(
        MODEL, api_key=None, api_base="https://ann:p%40ss@es.example:9243/a", http_client=replay.client(mode)
    )
    assert "p%40ss" not in repr(reranker)
    with pytest.raises(RerankError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    (request,) = replay.seen
    assert str(request.url) == f"{BASE}/a/_inference/rerank/my-rerank"
    assert request.headers["authorization"] == "Basic YW5uOnBAc3M="
    assert not leaks(caught.value, ["p@ss", "YW5uOnBAc3M="])


def test_login_in_the_base_url_with_an_api_key_raises(mode: Mode) -> None:
    replay = Replay([])
    reranker_options = {"api_base": "https://ann:secret@es.example", "http_client": replay.client(mode)}
    with pytest.raises(ConfigurationError, match="one Authorization header") as caught:
        mode.rerank(mode.reranker(MODEL, **reranker_options), QUERY, DOCUMENTS)
    assert not leaks(caught.value, ["secret", KEY])
    assert replay.seen == []


@pytest.mark.parametrize(
    ("inference_id", "path"),
    [
        ("my-rerank", "my-rerank"),
        (".rerank-v1-elasticsearch", ".rerank-v1-elasticsearch"),
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("ранг", "%D1%80%D0%B0%D0%BD%D0%B3"),
    ],
)
@pytest.mark.parametrize("base", [BASE, f"{BASE}/", f"{BASE}/proxy/es"])
@pytest.mark.parametrize("end", ["", "/_inference/rerank", "/_inference/rerank/"])
def test_inference_id_is_quoted_in_the_path(inference_id: str, path: str, base: str, end: str, sync_mode: Mode) -> None:
    request = sent_by(sync_mode, f"elasticsearch/{inference_id}", api_base=f"{base.rstrip('/')}{end}")
    assert str(request.url) == f"{base.rstrip('/')}/_inference/rerank/{path}"


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, {}),
        ({"top_n": 2}, {}),
        ({"task_settings": {"top_n": 5}}, {"task_settings": {"top_n": 5}}),
        ({"task_settings": None}, {}),
    ],
)
def test_body_with_task_settings(options: dict[str, Any], more: dict[str, Any], sync_mode: Mode) -> None:
    request = sent_by(sync_mode, MODEL, api_base=BASE, **options)
    assert json.loads(request.content) == {"query": QUERY, "input": DOCUMENTS, **more}


@pytest.mark.parametrize(
    ("index", "score", "expected"),
    [
        ("0", "0.25", 0.25),
        (0, "-1.5", -1.5),
        ("0", 3, 3.0),
        ("0", "2e-3", 0.002),
        ("0", "7", 7.0),
        (0, 0.25, 0.25),
    ],
)
def test_numbers_in_strings_are_read(index: Any, score: Any, expected: float, mode: Mode) -> None:
    replay = answering({"rerank": [{"index": index, "relevance_score": score, "text": "an echo"}]})
    reranker = mode.reranker(MODEL, api_base=BASE, http_client=replay.client(mode))
    (found,) = mode.rerank(reranker, QUERY, DOCUMENTS[:1]).results
    assert (found.index, found.relevance_score, type(found.relevance_score)) == (0, expected, float)


@pytest.mark.parametrize(
    ("index", "score", "named"),
    [
        ("one", "0.5", "index"),
        ("-0", "0.5", "index"),
        ("0.0", "0.5", "index"),
        ("1", "0.5", "index"),
        ("", "0.5", "index"),
        ("\u00b2", "0.5", "index"),
        (True, "0.5", "index"),
        (0.0, "0.5", "index"),
        (None, "0.5", "index"),
        ("0", "much", "relevance_score"),
        ("0", "", "relevance_score"),
        ("0", "nan", "relevance_score"),
        ("0", "-inf", "relevance_score"),
        ("0", "1e999", "relevance_score"),
        ("0", "0,5", "relevance_score"),
        ("0", True, "relevance_score"),
        ("0", None, "relevance_score"),
        ("0", ["0.5"], "relevance_score"),
    ],
)
def test_strings_that_are_not_numbers_raise_validation_error(index: Any, score: Any, named: str, mode: Mode) -> None:
    replay = answering({"rerank": [{"index": index, "relevance_score": score}]})
    reranker = mode.reranker(MODEL, api_base=BASE, http_client=replay.client(mode))
    with pytest.raises(APIResponseValidationError, match=rf"\.{named} is not"):
        mode.rerank(reranker, QUERY, DOCUMENTS[:1])


@pytest.mark.parametrize(
    "body",
    [
        {
            "error": {
                "root_cause": [{"type": "status_exception", "reason": "says why"}],
                "type": "status_exception",
                "reason": "says why",
            },
            "status": 400,
        },
        {"error": {"type": "status_exception", "reason": "says why"}},
        {"error": "says why", "status": 400},
    ],
)
def test_error_message_is_the_reason(body: Any, mode: Mode) -> None:
    reranker = mode.reranker(MODEL, api_base=BASE, http_client=answering(body, 400).client(mode))
    with pytest.raises(RerankError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.message == "Elasticsearch answered 400: says why"
