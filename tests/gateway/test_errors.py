"""What each dialect answers when something is wrong: the status, and the body that its clients read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.gateway.dialects import dialects
from anyrerank.testing import StubServer

HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}
QUERY, TEXTS = "Which planet is red?", ["Venus is hot", "Mars is the red planet"]

PLAIN: dict[str, Any] = {"query": QUERY, "documents": TEXTS}
PATHS: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "litellm": ("/v1/rerank", PLAIN, {"error", "message", "detail"}),
    "litellm_v2": ("/v2/rerank", PLAIN, {"error", "message", "detail"}),
    "cohere_v1": ("/cohere/v1/rerank", PLAIN, {"error", "message", "detail"}),
    "cohere_v2": ("/cohere/v2/rerank", PLAIN, {"error", "message", "detail"}),
    "llama_cpp": ("/reranking", PLAIN, {"error", "message", "detail"}),
    "openrouter": ("/api/v1/rerank", PLAIN, {"error", "message", "detail"}),
    "vllm_score": ("/score", {"text_1": QUERY, "text_2": TEXTS}, {"error", "message", "detail"}),
    "jina": ("/jina/v1/rerank", PLAIN, {"detail", "message"}),
    "infinity": ("/infinity/rerank", PLAIN, {"detail", "message"}),
    "mixedbread": ("/mixedbread/v1/reranking", {"query": QUERY, "input": TEXTS}, {"detail", "message"}),
    "nim": ("/v1/ranking", {"query": {"text": QUERY}, "passages": [{"text": TEXTS[0]}]}, {"detail", "message"}),
    "voyage": ("/voyage/v1/rerank", PLAIN, {"detail"}),
    "ollama": ("/api/rerank", PLAIN, {"error"}),
    "tei": ("/tei/rerank", {"query": QUERY, "texts": TEXTS}, {"error", "error_type"}),
    "dashscope": (
        "/api/v1/services/rerank/text-rerank/text-rerank",
        {"input": {"query": QUERY, "documents": TEXTS}},
        {"code", "message", "request_id"},
    ),
    "dashscope_compatible": ("/v1/reranks", PLAIN, {"code", "message", "request_id"}),
}
"""Path, body and the names in an error, of each dialect that ranks."""

each_dialect = pytest.mark.parametrize("name", PATHS)


def message(body: dict[str, Any]) -> str:
    """The message of an error, wherever its dialect has it."""
    found = body.get("message") or body.get("detail") or body["error"]
    assert isinstance(found, str)
    return found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    settings = {"max_body_mb": 0.01, "max_documents": 50}
    with running(gateway_of([entry("rerank"), entry("other")], settings=settings)) as address:
        yield address


def test_every_dialect_that_ranks_is_tested() -> None:
    assert PATHS.keys() == {dialect.name for dialect in dialects() if dialect.paths}


@each_dialect
def test_wrong_body_has_the_status_and_shape_of_the_dialect(name: str, url: str) -> None:
    path, _, names = PATHS[name]
    answer = httpx.post(f"{url}{path}", json={"model": "rerank"}, headers=HEADERS)
    assert answer.status_code == (422 if name in ("tei", "infinity") else 400)
    assert answer.json().keys() == names
    assert "required" in message(answer.json())


@each_dialect
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe{}"])
def test_body_that_is_no_json_object_is_refused(name: str, content: bytes, url: str) -> None:
    path, _, names = PATHS[name]
    answer = httpx.post(f"{url}{path}", content=content, headers=HEADERS)
    assert answer.status_code == (422 if name in ("tei", "infinity") else 400)
    assert answer.json().keys() == names


@each_dialect
def test_unknown_model_is_named_with_those_that_there_are(name: str, url: str) -> None:
    path, body, names = PATHS[name]
    answer = httpx.post(f"{url}{path}", json={**body, "model": "unknown"}, headers=HEADERS)
    assert answer.status_code == (400 if name in ("litellm", "litellm_v2") else 404)
    assert answer.json().keys() == names
    assert "'unknown'" in message(answer.json())
    assert "rerank, other" in message(answer.json())


@each_dialect
def test_missing_key_is_refused_in_the_shape_of_the_dialect(name: str, url: str) -> None:
    path, body, names = PATHS[name]
    answer = httpx.post(f"{url}{path}", json=body)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json().keys() == names


@each_dialect
def test_too_large_a_body_is_refused(name: str, url: str) -> None:
    path, body, names = PATHS[name]
    answer = httpx.post(f"{url}{path}", json={**body, "padding": "x" * 20_000}, headers=HEADERS)
    assert answer.status_code == 413
    assert answer.json().keys() == names


def test_client_of_infinity_reads_a_list_where_the_body_is_wrong(url: str) -> None:
    wrong = httpx.post(f"{url}/infinity/rerank", json={**PLAIN, "query": " "}, headers=HEADERS).json()
    assert wrong["detail"][0]["loc"] == ["body", "query"]
    assert "query" in wrong["detail"][0]["msg"]
    unknown = httpx.post(f"{url}/infinity/rerank", json={**PLAIN, "model": "unknown"}, headers=HEADERS).json()
    assert "'unknown'" in unknown["detail"]


def test_too_many_documents_are_refused(url: str) -> None:
    answer = httpx.post(f"{url}/rerank", json={"query": QUERY, "documents": ["a"] * 51}, headers=HEADERS)
    assert answer.status_code == 413
    assert "50 documents, got 51" in message(answer.json())


FAILURES = [(401, 502, {}), (403, 502, {}), (500, 502, {}), (429, 429, {"retry-after": "7"}), ("garbage", 502, {})]


@pytest.mark.parametrize(
    ("name", "happens", "status", "headers"),
    [("cohere_v2", *failure) for failure in FAILURES] + [(name, 500, 502, {}) for name in PATHS],
)
def test_failure_of_the_vendor(name: str, happens: Any, status: int, headers: dict[str, str]) -> None:
    path, body, names = PATHS[name]
    with StubServer() as vendor:
        vendor.fail(happens, body={"message": "the vendor says no"}, headers={"retry-after": "7"})
        models = [entry("rerank", "cohere/rerank-v3.5", api_key="vendor-key", api_base=vendor.url)]
        with running(gateway_of(models, num_retries=0)) as url:
            answer = httpx.post(f"{url}{path}", json=body, headers=HEADERS)
    assert answer.status_code == status
    assert answer.json().keys() == names
    assert {name: answer.headers[name] for name in headers} == headers
    assert QUERY not in answer.text
    assert "says no" not in answer.text
    assert "vendor-key" not in answer.text


def test_words_of_a_vendor_that_does_not_cool_down_are_in_the_log_of_the_gateway(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with StubServer() as vendor:
        vendor.fail(500, body={"message": "the account is paused"})
        models = [entry("rerank", "cohere/rerank-v3.5", api_key="vendor-key", api_base=vendor.url)]
        with running(gateway_of(models, num_retries=0, allowed_fails=99)) as url:
            asked = {"query": QUERY, "documents": ["Venus"]}
            answer = httpx.post(f"{url}/rerank", json=asked, headers={**HEADERS, "x-request-id": "mine"})
    assert "the log of the gateway has its message" in answer.json()["error"]["message"]
    assert "paused" not in answer.text
    (line,) = (each for each in caplog.messages if each.startswith("request mine failed: InternalServerError: "))
    assert "the account is paused" in line
    assert QUERY not in caplog.text


def test_litellm_answers_408_where_the_vendor_is_too_slow_and_others_504() -> None:
    with StubServer() as vendor:
        vendor.fail("hang")
        models = [entry("rerank", "cohere/rerank-v3.5", api_key="vendor-key", api_base=vendor.url)]
        with running(gateway_of(models, num_retries=0, timeout=0.2, allowed_fails=99)) as url:
            statuses = [
                httpx.post(f"{url}{path}", json=PLAIN, headers=HEADERS).status_code
                for path in ("/rerank", "/cohere/v2/rerank")
            ]
    assert statuses == [408, 504]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rerank", {"query": QUERY, "documents": "text"}),
        ("/rerank", {"query": QUERY, "documents": [1]}),
        ("/rerank", {"query": QUERY, "documents": [None]}),
        ("/rerank", {"query": QUERY, "documents": {"0": "a"}}),
        ("/rerank", {"query": 5, "documents": TEXTS}),
        ("/rerank", {"query": " ", "documents": TEXTS}),
        ("/rerank", {"query": QUERY, "documents": [{"title": "no text"}]}),
        ("/rerank", {**PLAIN, "top_n": 0}),
        ("/rerank", {**PLAIN, "top_n": -1}),
        ("/rerank", {**PLAIN, "top_n": "many"}),
        ("/rerank", {**PLAIN, "return_documents": "maybe"}),
        ("/rerank", {**PLAIN, "rank_fields": "text"}),
        ("/rerank", {**PLAIN, "priority": "high"}),
        ("/rerank", {**PLAIN, "model": 7}),
        ("/rerank", {**PLAIN, "timeout": -1}),
        ("/v1/ranking", {"query": {"image": "x"}, "passages": [{"text": "a"}]}),
        ("/v1/score", {"text_1": QUERY, "text_2": 7}),
        ("/v1/reranks", {"query": QUERY}),
        ("/rerank", {"input": {"query": QUERY}, "parameters": []}),
        ("/mixedbread/v1/reranking", {"query": QUERY, "input": "text"}),
    ],
    ids=str,
)
def test_wrong_field_is_refused_without_quoting_it(path: str, body: dict[str, Any], url: str) -> None:
    answer = httpx.post(f"{url}{path}", json=body, headers=HEADERS)
    assert answer.status_code == 400, answer.text
    assert not any(text in answer.text for text in (QUERY, *TEXTS, "no text"))


@pytest.mark.parametrize("path", ["/tei/unknown/info", "/tei/unknown/health", "/v1/models/unknown"])
def test_fact_about_an_unknown_model_is_not_found(path: str, url: str) -> None:
    assert httpx.get(f"{url}{path}", headers=HEADERS).status_code == 404
    assert httpx.get(f"{url}{path}").status_code == 401


@pytest.mark.parametrize(("master_key", "needed"), [(MASTER_KEY, True), (None, False)])
def test_client_of_xinference_learns_whether_to_send_its_key(master_key: str | None, needed: bool) -> None:
    with running(gateway_of(master_key=master_key)) as url:
        assert httpx.get(f"{url}/v1/cluster/auth").json() == {"auth": needed}
        assert httpx.get(f"{url}/v1/cluster/auth", headers=HEADERS).json() == {"auth": needed}


def test_empty_list_of_documents_has_an_empty_answer(url: str) -> None:
    answer = httpx.post(f"{url}/rerank", json={"query": QUERY, "documents": []}, headers=HEADERS)
    assert answer.status_code == 200
    assert answer.json()["results"] == []
