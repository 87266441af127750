"""Options of requests: those that the vendor has reach it in its own words, the others are dropped and named."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.testing import StubServer

ASK: dict[str, Any] = {"query": "Which planet is red?", "documents": ["Venus is hot", "Mars is red"]}
NIM = {"query": {"text": ASK["query"]}, "passages": [{"text": text} for text in ASK["documents"]]}
PROVIDERS = (
    "cohere",
    "cohere_compatible",
    "hosted_vllm",
    "huggingface",
    "infinity",
    "mixedbread",
    "nvidia_nim",
    "voyage",
)
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture(scope="module")
def _vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture(scope="module")
def url(_vendor: StubServer) -> Iterator[str]:
    with running(gateway_of(models(_vendor))) as address:
        yield address


@pytest.fixture
def vendor(_vendor: StubServer) -> StubServer:
    """The vendor behind every model; it has forgotten the requests of other tests."""
    _vendor.requests.clear()
    return _vendor


def models(vendor: StubServer, **more: Any) -> list[dict[str, Any]]:
    """One model of each of several vendors; the stub server answers them all."""
    providers = (
        "cohere",
        "nvidia_nim",
        "voyage",
        "huggingface",
        "infinity",
        "cohere_compatible",
        "mixedbread",
        "hosted_vllm",
    )
    return [entry(name, f"{name}/some-model", api_key="key", api_base=vendor.url, **more) for name in providers]


def ask(url: str, model: str, path: str = "/v1/rerank", *, text: Any = ASK, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}{path}", json={"model": model, **text, **body}, headers=HEADERS)


def test_option_that_the_vendor_has_is_sent(vendor: StubServer, url: str) -> None:
    answer = ask(url, "cohere", max_tokens_per_doc=100)
    assert vendor.requests[0].json["max_tokens_per_doc"] == 100
    assert "x-anyrerank-dropped" not in answer.headers


def test_option_that_the_vendor_lacks_is_dropped_and_named(
    vendor: StubServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "anyrerank.gateway"), running(gateway_of(models(vendor))) as url:
        body = {"model": "cohere", **ASK, "instruction": "be exact", "overlap_tokens": 80, "max_chunks_per_doc": 9}
        httpx.post(f"{url}/v1/rerank", json=body, headers=HEADERS)
        answer = httpx.post(f"{url}/v1/rerank", json=body, headers=HEADERS)

    assert answer.status_code == 200
    assert answer.headers["x-anyrerank-dropped"] == "instruction, overlap_tokens"
    assert vendor.requests[0].json.keys() == {"model", "query", "documents", "max_chunks_per_doc"}
    named = [record.getMessage() for record in caplog.records]
    assert len(named) == 2
    assert all("cohere/some-model" in line for line in named)
    assert "be exact" not in caplog.text


def test_option_is_an_error_where_the_configuration_says_so(vendor: StubServer) -> None:
    with running(gateway_of(models(vendor), drop_params=False)) as url:
        body = {"model": "cohere", **ASK, "instruction": "be exact"}
        answer = httpx.post(f"{url}/v1/rerank", json=body, headers=HEADERS)
    assert answer.status_code == 400
    assert "instruction" in answer.json()["message"]
    assert "be exact" not in answer.text
    assert vendor.requests == []


def test_unknown_field_with_an_unusual_name_is_not_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "anyrerank.gateway"):
        ask(url, "cohere", text={**ASK, "some text of a user": 1, "zebra": 2})
    assert "some text" not in caplog.text
    assert "zebra" in caplog.text


@pytest.mark.parametrize(
    "request_",
    [
        ("/v1/ranking", {**NIM, "truncate": "END"}),
        ("/v1/ranking", {**NIM, "truncate": "end"}),
        ("/v1/rerank", {**ASK, "truncate": True}),
        ("/voyage/v1/rerank", {**ASK, "truncation": True}),
    ],
)
@pytest.mark.parametrize(
    ("model", "received"),
    [
        ("nvidia_nim", {"truncate": "END"}),
        ("voyage", {"truncation": True}),
        ("huggingface", {"truncate": True}),
        ("cohere_compatible", {"truncate": "END"}),
        ("cohere", {}),
    ],
)
def test_truncation_is_said_in_the_words_of_the_vendor(
    request_: tuple[str, dict[str, Any]], model: str, received: dict[str, Any], vendor: StubServer, url: str
) -> None:
    path, body = request_
    answer = ask(url, model, path, text=body)
    assert answer.status_code == 200, answer.text
    found = {name: value for name, value in vendor.requests[0].json.items() if name in ("truncate", "truncation")}
    assert found == received
    assert answer.headers.get("x-anyrerank-dropped") == (None if received else "truncate")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", {**ASK, "instruction": "be exact"}),
        ("/v1/reranks", {**ASK, "instruct": "be exact"}),
        ("/api/v1/services/rerank/text-rerank/text-rerank", {"input": ASK, "parameters": {"instruct": "be exact"}}),
    ],
)
def test_instruction_is_said_in_the_words_of_the_vendor(
    path: str, body: dict[str, Any], vendor: StubServer, url: str
) -> None:
    assert ask(url, "cohere_compatible", path, text=body).status_code == 200
    assert vendor.requests[0].json["instruction"] == "be exact"


@pytest.mark.parametrize("value", ["START", "AUTO", 7, ["END"]])
def test_truncation_without_an_equivalent_is_ignored_and_named(value: object, vendor: StubServer, url: str) -> None:
    answer = ask(url, "nvidia_nim", truncate=value)
    assert answer.status_code == 200
    assert "truncate" not in vendor.requests[0].json
    assert answer.headers["x-anyrerank-ignored"] == "truncate"


def test_option_of_vllm_reaches_it(vendor: StubServer, url: str) -> None:
    answer = ask(url, "hosted_vllm", truncate_prompt_tokens=100, service_tier="priority")
    assert vendor.requests[0].json["truncate_prompt_tokens"] == 100
    assert "service_tier" not in vendor.requests[0].json
    assert answer.headers["x-anyrerank-ignored"] == "service_tier"


def test_option_of_one_vendor_reaches_that_vendor(vendor: StubServer, url: str) -> None:
    text = {"query": ASK["query"], "input": ASK["documents"]}
    ask(url, "mixedbread", "/mixedbread/v1/reranking", text=text, rewrite_query=True)
    assert vendor.requests[0].json["rewrite_query"] is True


@pytest.mark.parametrize(
    ("model", "raw", "scale", "score"),
    [
        ("nvidia_nim", False, "unit", 0.8807970779778823),
        ("nvidia_nim", True, "logit", 2.0),
        ("cohere_compatible", False, "unknown", 2.0),
    ],
)
@pytest.mark.parametrize("path", ["/tei/{model}/rerank", "/infinity/rerank"])
def test_scores_are_mapped_to_0_to_1_where_their_scale_is_known(
    model: str, raw: bool, scale: str, score: float, path: str
) -> None:
    texts = "documents" if "infinity" in path else "texts"
    body = {"query": ASK["query"], texts: ASK["documents"], "raw_scores": raw}
    with StubServer(lambda query, text: 2.0) as vendor, running(gateway_of(models(vendor))) as url:
        answer = ask(url, model, path.replace("{model}", model), text=body)

    assert answer.headers["x-anyrerank-score-mode"] == scale
    rows = answer.json() if texts == "texts" else answer.json()["results"]
    assert [row.get("score", row.get("relevance_score")) for row in rows] == pytest.approx([score] * 2)


def test_raw_scores_are_asked_of_a_vendor_that_has_both(vendor: StubServer, url: str) -> None:
    body = {"query": ASK["query"], "texts": ASK["documents"], "raw_scores": True, "truncation_direction": "left"}
    answer = ask(url, "huggingface", "/tei/huggingface/rerank", text=body)
    assert vendor.requests[0].json["raw_scores"] is True
    assert vendor.requests[0].json["truncation_direction"] == "Left"
    assert answer.headers["x-anyrerank-score-mode"] == "logit"


@pytest.fixture
def failing() -> Iterator[StubServer]:
    with StubServer() as server:
        server.fail(500)
        yield server


def test_request_may_name_fallbacks(failing: StubServer) -> None:
    spare = [*models(failing), entry("spare")]
    with running(gateway_of(spare, num_retries=0)) as url:
        body = {"model": "cohere", **ASK}
        assert httpx.post(f"{url}/rerank", json=body, headers=HEADERS).status_code == 502
        names = ["cohere", "spare", "spare"]
        answer = httpx.post(f"{url}/rerank", json={**body, "fallbacks": names}, headers=HEADERS)
        unknown = httpx.post(f"{url}/rerank", json={**body, "fallbacks": ["unknown"]}, headers=HEADERS)
    assert answer.status_code == 200
    assert answer.headers["x-anyrerank-deployment"] == "local/lexical"
    assert len(failing.requests) <= 2  # a name that is repeated is asked once
    assert unknown.status_code == 400


def test_request_may_switch_fallbacks_off(failing: StubServer) -> None:
    spare = [*models(failing), entry("spare")]
    with running(gateway_of(spare, num_retries=0, fallbacks=[{"cohere": ["spare"]}])) as url:
        body = {"model": "cohere", **ASK}
        assert httpx.post(f"{url}/rerank", json=body, headers=HEADERS).status_code == 200
        answer = httpx.post(f"{url}/rerank", json={**body, "disable_fallbacks": True}, headers=HEADERS)
    assert answer.status_code == 502
