"""What existing clients force the gateway to accept; each test is named after one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

QUERY = "Which planet is red?"
DOCUMENTS = ["Venus is hot", "Mars is the red planet", "Jupiter is large"]
ASK: dict[str, Any] = {"model": "rerank", "query": QUERY, "documents": DOCUMENTS}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(gateway_of([entry("rerank"), entry("acme/large-v2"), entry("nvidia/ranker-3.2-v2")])) as address:
        yield address


def order(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    rows = body if isinstance(body, list) else body.get("results") or body.get("data") or body["rankings"]
    return [row["index"] for row in rows]


def asked(url: str, path: str = "/v1/rerank", **body: Any) -> httpx.Response:
    return httpx.post(f"{url}{path}", json=body, headers=HEADERS)


def test_dify_sends_null_for_top_n(url: str) -> None:
    assert order(asked(url, **ASK, top_n=None)) == [1, 0, 2]


def test_open_webui_asks_for_as_many_as_there_are_and_more(url: str) -> None:
    assert order(asked(url, **ASK, top_n=3)) == order(asked(url, **ASK, top_n=99)) == [1, 0, 2]


def test_ragflow_sends_booleans_as_strings_to_xinference(url: str) -> None:
    answer = asked(url, **ASK, return_documents="true", return_len="true")
    assert order(answer) == [1, 0, 2]
    assert answer.json()["results"][0]["document"] == {"text": DOCUMENTS[1]}
    assert answer.headers["x-anyrerank-ignored"] == "return_len"


def test_ragflow_sends_top_n_and_another_model_than_in_the_path_to_nim(url: str) -> None:
    passages = [{"text": text} for text in DOCUMENTS]
    body = {"query": {"text": QUERY}, "passages": passages, "truncate": "END", "top_n": 2}
    path = "/v1/retrieval/nvidia/ranker-3_2-v2/reranking"
    assert order(asked(url, path, model="nvidia/unknown", **body)) == [1, 0]
    assert order(asked(url, "/v1/retrieval/nvidia/reranking", model="nvidia/ranker-3.2-v2", **body)) == [1, 0]
    assert order(asked(url, "/v1/retrieval/unknown/reranking", model="rerank", **body)) == [1, 0]


def test_the_model_in_the_body_wins_over_that_in_a_path_of_nim(url: str) -> None:
    body = {"query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS]}
    with running(gateway_of([entry("a", input_cost_per_query=1.0), entry("b", input_cost_per_query=2.0)])) as other:
        answer = asked(other, "/v1/retrieval/b/reranking", model="a", **body)
    assert answer.headers["x-anyrerank-cost"] == "1"


@pytest.mark.parametrize("query", [QUERY, {"text": QUERY}])
def test_jina_mixes_strings_and_objects(query: object, url: str) -> None:
    documents = [DOCUMENTS[0], {"text": DOCUMENTS[1], "id": 7}, {"text": DOCUMENTS[2]}]
    answer = asked(url, "/jina/v1/rerank", model="rerank", query=query, documents=documents, return_documents=True)
    assert order(answer) == [1, 0, 2]
    assert answer.json()["results"][0]["document"] == {"text": DOCUMENTS[1], "id": 7}


@pytest.mark.parametrize(
    "header",
    [
        {"authorization": MASTER_KEY},  # LlamaIndex's TEI
        {"authorization": f"bearer {MASTER_KEY}"},
        {"x-api-key": MASTER_KEY},  # LiteLLM
        {"api-key": MASTER_KEY},
        {"x-litellm-api-key": MASTER_KEY},
    ],
    ids=str,
)
def test_llama_index_and_litellm_send_the_key_in_other_ways(header: dict[str, str], url: str) -> None:
    assert order(httpx.post(f"{url}/v1/rerank", json=ASK, headers=header)) == [1, 0, 2]


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", None])
def test_curl_sends_json_as_a_form(content_type: str | None, url: str) -> None:
    headers = HEADERS if content_type is None else {**HEADERS, "content-type": content_type}
    assert order(httpx.post(f"{url}/rerank", content=json.dumps(ASK), headers=headers)) == [1, 0, 2]


@pytest.mark.parametrize(
    ("path", "texts"), [("/tei/rerank", "texts"), ("/tei/rerank", "documents"), ("/v1/rerank", "documents")]
)
def test_tei_elasticsearch_and_azure_name_no_model(path: str, texts: str, url: str) -> None:
    assert order(asked(url, path, query=QUERY, **{texts: DOCUMENTS})) == [1, 0, 2]


@pytest.mark.parametrize(
    "model", ["acme/large-v2", "acme___large-v2", "litellm_proxy/acme/large-v2", "mixedbread-ai/rerank"]
)
def test_mixedbread_and_others_put_a_prefix_before_the_model(model: str, url: str) -> None:
    assert order(asked(url, **{**ASK, "model": model})) == [1, 0, 2]


@pytest.mark.parametrize("model", ["acme/large-v2", "acme%2Flarge-v2", "acme___large-v2"])
def test_tei_has_the_model_in_the_path_with_slashes(model: str, url: str) -> None:
    assert order(asked(url, f"/tei/{model}/rerank", query=QUERY, texts=DOCUMENTS)) == [1, 0, 2]
    info = httpx.get(f"{url}/tei/{model}/info", headers=HEADERS)
    assert info.json()["model_id"] == "acme/large-v2"
    assert httpx.get(f"{url}/tei/{model}/health", headers=HEADERS).status_code == 200


@pytest.mark.parametrize("direction", ["Right", "right", "Left", "left"])
def test_continue_writes_the_truncation_direction_in_capitals(direction: str, url: str) -> None:
    answer = asked(url, "/tei/rerank", query=QUERY, texts=DOCUMENTS, truncation_direction=direction)
    assert order(answer) == [1, 0, 2]


def test_continue_demands_a_document_that_it_did_not_ask_voyage_for(url: str) -> None:
    answer = asked(url, "/voyage/v1/rerank", **ASK)
    assert [row["document"] for row in answer.json()["data"]] == [DOCUMENTS[index] for index in (1, 0, 2)]


def test_fastgpt_adds_fields_that_nobody_knows(url: str) -> None:
    answer = asked(url, **ASK, zebra=1, apple={"b": 2})
    assert order(answer) == [1, 0, 2]
    assert answer.headers["x-anyrerank-ignored"] == "apple, zebra"


def test_dify_shows_documents_of_ollama_as_strings(url: str) -> None:
    documents = [{"text": text} for text in DOCUMENTS]
    answer = asked(url, "/api/rerank", **{**ASK, "documents": documents}, return_documents=True)
    assert [row["document"] for row in answer.json()["results"]] == [DOCUMENTS[index] for index in (1, 0, 2)]


def test_mixedbread_sdk_adds_its_path_to_a_base_that_has_one(url: str) -> None:
    for path in ("/mixedbread/v1/reranking", "/mixedbread/v1/v1/reranking", "/v1/reranking"):
        assert order(asked(url, path, model="rerank", query=QUERY, input=DOCUMENTS, top_k=2)) == [1, 0]


@pytest.mark.parametrize(
    "path",
    [
        "//rerank",
        "/v1/rerank/",
        "/v1//rerank",
        "/v1/v1/rerank",
        "/v1/v2/rerank",
        "/v1/rerank/rerank",
        "/v1/rerank/v1/rerank",
        "/rerank/v2/rerank",
        "/cohere/v1/v2/rerank",
        "/cohere/v2/rerank/v2/rerank",
        "/voyage/v1/rerank/rerank",
        "/jina/v1/v1/rerank",
    ],
)
def test_many_base_urls_have_a_part_too_many(path: str, url: str) -> None:
    assert order(asked(url, path, **ASK)) == [1, 0, 2]


def test_dify_has_a_slash_after_the_model_of_tei(url: str) -> None:
    assert order(asked(url, "/tei/acme/large-v2//rerank", query=QUERY, texts=DOCUMENTS)) == [1, 0, 2]
    assert httpx.get(f"{url}/tei/acme/large-v2//info", headers=HEADERS).json()["model_id"] == "acme/large-v2"


def test_model_of_tei_may_be_called_like_the_operation(url: str) -> None:
    assert httpx.get(f"{url}/tei/rerank/info", headers=HEADERS).json()["model_id"] == "rerank"
    assert asked(url, "/tei/unknown/rerank", query=QUERY, texts=DOCUMENTS).status_code == 404
    models = [entry("default", input_cost_per_query=1.0), entry("rerank", input_cost_per_query=2.0)]
    with running(gateway_of(models)) as other:
        answer = asked(other, "/tei/rerank/rerank", query=QUERY, texts=DOCUMENTS)
    assert answer.headers["x-anyrerank-cost"] == "2"


@pytest.mark.parametrize("path", ["/v3/rerank", "/coher/v2/rerank", "/rerank/v1", "/v1/rerank/score", "/v1"])
def test_path_that_means_nothing_is_not_found(path: str, url: str) -> None:
    assert asked(url, path, **ASK).status_code == 404


@pytest.mark.parametrize("others", [DOCUMENTS[1], [DOCUMENTS[1]]])
@pytest.mark.parametrize("names", [("text_1", "text_2"), ("queries", "documents"), ("data_1", "data_2")])
def test_vllm_scores_one_text_or_a_list_under_several_names(names: tuple[str, str], others: object, url: str) -> None:
    for one in (QUERY, [QUERY]):
        answer = asked(url, "/v1/score", model="rerank", **{names[0]: one, names[1]: others})
        assert [row["index"] for row in answer.json()["data"]] == [0]


def test_vllm_score_of_pairs_is_refused_with_what_to_do(url: str) -> None:
    answer = asked(url, "/score", text_1=["a", "b"], text_2=["c", "d"])
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "text_1"
    assert "one text, got 2" in answer.json()["error"]["message"]


def test_every_document_is_answered_blank_ones_with_a_number(url: str) -> None:
    documents = ["", DOCUMENTS[1], "   ", "nothing in common"]
    answer = asked(url, **{**ASK, "documents": documents})
    rows = answer.json()["results"]
    assert rows[0]["index"] == 1
    assert sorted(row["index"] for row in rows) == [0, 1, 2, 3]
    scores = [row["relevance_score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {row["index"] for row in rows[2:]} == {0, 2}


def test_only_blank_documents_are_answered_too(url: str) -> None:
    assert order(asked(url, **{**ASK, "documents": ["", " "]})) == [0, 1]


def test_top_n_counts_blank_documents_last(url: str) -> None:
    assert order(asked(url, **{**ASK, "documents": [" ", *DOCUMENTS]}, top_n=3)) == [2, 1, 3]
