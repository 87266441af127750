"""DeepInfra: the model in the path, and scores in the order of the documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, answering, sent_by
from tests.support.loopback import Line, Loopback, relevance

from anyrerank import APIResponseValidationError, BadRequestError
from anyrerank._core.engine import connect

NAME = "Qwen/Qwen3-Reranker-8B"
MODEL = f"deepinfra/{NAME}"
NUMBERED = [f"document {number}" for number in (4, 2, 0, 3, 1)]


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (None, f"https://api.deepinfra.com/v1/inference/{NAME}"),
        ("https://api.deepinfra.com/v1/openai", f"https://api.deepinfra.com/v1/inference/{NAME}"),
        ("https://api.deepinfra.com/v1/openai/", f"https://api.deepinfra.com/v1/inference/{NAME}"),
        ("https://gw.example/v1/openai?t=1", f"https://gw.example/v1/inference/{NAME}?t=1"),
        ("https://gw.example/openai-proxy/v1", f"https://gw.example/openai-proxy/v1/inference/{NAME}"),
        ("https://openai.example/my-openai", f"https://openai.example/my-openai/inference/{NAME}"),
        ("https://gw.example/openai/v1", f"https://gw.example/openai/v1/inference/{NAME}"),
        ("https://gw.example/v1/inference", f"https://gw.example/v1/inference/{NAME}"),
        ("https://gw.example/v1/inference/", f"https://gw.example/v1/inference/{NAME}"),
        ("https://gw.example/v1/inference/acme/rank/", "https://gw.example/v1/inference/acme/rank"),
        (
            "https://gw.example/v1/inference/acme/rank?version=a1",
            "https://gw.example/v1/inference/acme/rank?version=a1",
        ),
        ("https://gw.example", f"https://gw.example/inference/{NAME}"),
    ],
)
def test_url_composition(base: str | None, url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base).url) == url


def test_body_holds_one_query_and_no_unknown_fields(sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, top_n=1, return_documents=True).content)
    assert body == {"queries": [QUERY], "documents": DOCUMENTS}


def positional(line: Line) -> None:
    documents = line.hit.documents
    line.answer(body={"scores": [relevance(each) for each in documents], "input_tokens": 10 * len(documents)})


@pytest.mark.parametrize("top_n", [None, 3])
def test_scores_are_mapped_by_position_in_each_batch(
    top_n: int | None, mode: Mode, serve: Callable[..., Loopback]
) -> None:
    server = serve(positional)
    reranker = mode.reranker(MODEL, api_base=f"{server.url}/v1/openai", batch_size=2, top_n=top_n)
    response = mode.rerank(reranker, QUERY, NUMBERED)
    assert [(each.index, each.relevance_score) for each in response.results] == [
        (2, 1.0),
        (4, 1 / 2),
        (1, 1 / 3),
        (3, 1 / 4),
        (0, 1 / 5),
    ][:top_n]
    assert sorted(hit.documents for hit in server.hits) == sorted([NUMBERED[:2], NUMBERED[2:4], NUMBERED[4:]])
    assert {(hit.target, hit.headers["authorization"]) for hit in server.hits} == {
        (f"/v1/inference/{NAME}", f"Bearer {KEY}")
    }
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.total_tokens == 50


@pytest.mark.parametrize("scores", [[], [0.1], [0.1] * 4, [[0.1, 0.2, 0.3]], {"0": 0.1, "1": 0.2, "2": 0.3}, None])
@pytest.mark.parametrize("top_n", [None, 1])
def test_wrong_number_of_scores_raises_validation_error(scores: Any, top_n: int | None, mode: Mode) -> None:
    replay = answering({"scores": scores, "input_tokens": 10})
    reranker = mode.reranker(MODEL, top_n=top_n, http_client=replay.client(mode))
    with pytest.raises(APIResponseValidationError, match="one score for each document") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.status_code == 200


@pytest.mark.parametrize(("request_id", "named"), [("RID-1", True), (None, False), (7, False)])
def test_response_id_is_the_request_id_in_the_body(request_id: Any, named: bool, mode: Mode) -> None:
    replay = answering({"scores": [0.5], "request_id": request_id})
    response = mode.rerank(mode.reranker(MODEL, http_client=replay.client(mode)), QUERY, ["Ottawa"])
    assert response.id == request_id if named else response.id.startswith("rerank-")


@pytest.mark.parametrize("model", ["Qwen/Qwen3-Reranker-0.6B", "qwen/qwen3-reranker-4b"])
def test_scale_of_qwen3_is_unit(model: str, mode: Mode) -> None:
    replay = answering({"scores": [0.25]})
    reranker = mode.reranker(f"deepinfra/{model}", score_mode="unit", http_client=replay.client(mode))
    assert [each.relevance_score for each in mode.rerank(reranker, QUERY, ["Ottawa"]).results] == [0.25]


@pytest.mark.parametrize("model", ["nvidia/Nemotron-3.5-Rerank-8B-BF16", "acme/rank"])
def test_scale_of_other_models_is_unknown(model: str, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="score_mode='unit' is not possible"):
        sent_by(mode, f"deepinfra/{model}", score_mode="unit")


def test_max_documents_is_1000() -> None:
    assert connect(MODEL).max_documents({}) == 1000
