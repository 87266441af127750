"""DashScope: two APIs, selected by the base URL or the model, and listwise scores."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, answering, sent_by

from anyrerank import BadRequestError, RerankError
from anyrerank._core.engine import connect

COMPATIBLE_MODEL, NATIVE_MODEL, PICTURES = "qwen3-rerank", "gte-rerank-v2", "qwen3-vl-rerank"
CHINA, ABROAD = "https://dashscope.aliyuncs.com", "https://dashscope-intl.aliyuncs.com"
COMPATIBLE = "/compatible-api/v1/reranks"
NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"


@pytest.mark.parametrize(
    ("base", "compatible_model", "native_model"),
    [
        (None, CHINA + COMPATIBLE, CHINA + NATIVE),
        (ABROAD, ABROAD + COMPATIBLE, ABROAD + NATIVE),
        (f"{ABROAD}/", ABROAD + COMPATIBLE, ABROAD + NATIVE),
        (f"{ABROAD}/compatible-api/v1", ABROAD + COMPATIBLE, ABROAD + COMPATIBLE),
        (f"{ABROAD}/compatible-api/v1/reranks/", ABROAD + COMPATIBLE, ABROAD + COMPATIBLE),
        (f"{ABROAD}/compatible-mode/v1/", ABROAD + COMPATIBLE, ABROAD + COMPATIBLE),
        (f"{ABROAD}/compatible-mode/v1/reranks", ABROAD + COMPATIBLE, ABROAD + COMPATIBLE),
        (f"{ABROAD}/api/v1", ABROAD + NATIVE, ABROAD + NATIVE),
        (f"{ABROAD}{NATIVE}/", ABROAD + NATIVE, ABROAD + NATIVE),
        ("https://gw.example/v1/rerank", "https://gw.example/v1/rerank", "https://gw.example/v1/rerank"),
        ("https://gw.example/ali", f"https://gw.example/ali{COMPATIBLE}", f"https://gw.example/ali{NATIVE}"),
        ("https://gw.example/api/v1?t=1", f"https://gw.example{NATIVE}?t=1", f"https://gw.example{NATIVE}?t=1"),
        (
            "https://ws-1.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1",
            f"https://ws-1.ap-southeast-1.maas.aliyuncs.com{COMPATIBLE}",
            f"https://ws-1.ap-southeast-1.maas.aliyuncs.com{COMPATIBLE}",
        ),
    ],
)
def test_base_url_then_model_decides_the_api(
    base: str | None, compatible_model: str, native_model: str, sync_mode: Mode
) -> None:
    for model, url in ((COMPATIBLE_MODEL, compatible_model), (NATIVE_MODEL, native_model), (PICTURES, native_model)):
        options: dict[str, Any] = {"instruction": "Prefer capitals.", "top_n": 2}
        request = sent_by(sync_mode, f"dashscope/{model}", api_base=base, **options)
        assert str(request.url) == url
        asked = {"query": QUERY, "documents": DOCUMENTS}
        own = {"top_n": 2, "instruct": "Prefer capitals."}
        expected = (
            {"model": model, **asked, **own}
            if "rerank" in url and not url.partition("?")[0].endswith("text-rerank")
            else {"model": model, "input": asked, "parameters": {"return_documents": False, **own}}
        )
        assert json.loads(request.content) == expected


@pytest.mark.parametrize("own", [False, True])
def test_native_answer_is_read(own: bool, mode: Mode) -> None:
    rows = [{"index": 2, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]
    body = {"output": {"results": rows}, "usage": {"total_tokens": 9}, "request_id": "in-the-body"}
    replay = answering(body, headers={"x-request-id": "in-a-header"} if own else {})
    reranker = mode.reranker(f"dashscope/{NATIVE_MODEL}", http_client=replay.client(mode))
    response = mode.rerank(reranker, QUERY, DOCUMENTS, top_n=2)
    assert [(each.index, each.relevance_score) for each in response.results] == [(2, 0.5), (0, 0.25)]
    assert response.id == "in-the-body"
    assert response.request_id == ("in-a-header" if own else None)
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.total_tokens == 9


@pytest.mark.parametrize(("model", "limit"), [(COMPATIBLE_MODEL, 500), (NATIVE_MODEL, 500), (PICTURES, 100)])
def test_more_documents_than_the_limit_raise_unless_a_split_is_allowed(model: str, limit: int, mode: Mode) -> None:
    assert connect(f"dashscope/{model}").max_documents({}) == limit
    replay = Replay([])
    reranker = mode.reranker(f"dashscope/{model}", http_client=replay.client(mode))
    with pytest.raises(BadRequestError, match="allow_split"):
        mode.rerank(reranker, QUERY, ["x"] * (limit + 1))
    assert replay.seen == []
    assert len(sent_by(mode, f"dashscope/{model}", ["x"] * limit).content) > limit


def test_unit_scores_raise_because_the_scale_is_unknown(mode: Mode) -> None:
    reranker = mode.reranker(f"dashscope/{NATIVE_MODEL}", score_mode="unit", http_client=Replay([]).client(mode))
    with pytest.raises(BadRequestError, match="score_mode='unit' is not possible"):
        mode.rerank(reranker, QUERY, DOCUMENTS)


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        ({"code": "InvalidParameter", "message": "says why", "request_id": "rq-1"}, "rq-1"),
        ({"error": {"code": "invalid_parameter", "message": "says why", "type": "x"}, "request_id": "rq-1"}, "rq-1"),
        ({"error": {"message": "says why"}, "id": "rq-2"}, "rq-2"),
        ({"error": "says why"}, None),
    ],
)
@pytest.mark.parametrize("model", [COMPATIBLE_MODEL, NATIVE_MODEL])
def test_error_message_and_request_id_are_read(model: str, body: Any, request_id: str | None, mode: Mode) -> None:
    reranker = mode.reranker(f"dashscope/{model}", http_client=answering(body, 400).client(mode))
    with pytest.raises(RerankError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.message == "Alibaba DashScope answered 400: says why"
    assert caught.value.request_id == request_id


@pytest.mark.parametrize("model", ["qwen3-rerank", "gte-rerank-v2"])
def test_gateway_at_v1_has_the_compatible_api(model: str, sync_mode: Mode) -> None:
    request = sent_by(sync_mode, f"dashscope/{model}", api_base="https://gw.example/v1/")
    assert str(request.url) == "https://gw.example/v1/reranks"
    assert json.loads(request.content)["documents"] == DOCUMENTS
