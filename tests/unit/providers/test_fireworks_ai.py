"""Fireworks AI: model names, and its own names for results and instructions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, answering, sent_by

from anyrerank import APIResponseValidationError, RerankError

MODEL = "fireworks_ai/qwen3-reranker-8b"


@pytest.mark.parametrize(
    ("model", "in_body"),
    [
        ("qwen3-reranker-8b", "fireworks/qwen3-reranker-8b"),
        ("fireworks/qwen3-reranker-8b", "fireworks/qwen3-reranker-8b"),
        ("accounts/fireworks/models/qwen3-reranker-8b", "accounts/fireworks/models/qwen3-reranker-8b"),
        ("accounts/acme/deployedModels/rank-1", "accounts/acme/deployedModels/rank-1"),
        ("accountsrank", "fireworks/accountsrank"),
        ("fireworks-rank", "fireworks/fireworks-rank"),
    ],
)
def test_model_without_a_path_gets_the_fireworks_prefix(model: str, in_body: str, sync_mode: Mode) -> None:
    assert json.loads(sent_by(sync_mode, f"fireworks_ai/{model}").content)["model"] == in_body


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (None, "https://api.fireworks.ai/inference/v1/rerank"),
        ("https://api.fireworks.ai", "https://api.fireworks.ai/inference/v1/rerank"),
        ("https://api.fireworks.ai//", "https://api.fireworks.ai/inference/v1/rerank"),
        ("https://api.fireworks.ai/inference/v1/", "https://api.fireworks.ai/inference/v1/rerank"),
        ("https://gw.example/v1?t=1", "https://gw.example/v1/rerank?t=1"),
        ("https://api.fireworks.ai/inference", "https://api.fireworks.ai/inference/v1/rerank"),
        ("https://gw.example/fw", "https://gw.example/fw/inference/v1/rerank"),
        ("https://gw.example/fw/rerank/", "https://gw.example/fw/rerank"),
    ],
)
def test_url_composition(base: str | None, url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base).url) == url


def test_instruction_is_sent_as_task_and_documents_are_not_echoed(sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, instruction="Find the capital", return_documents=True).content)
    assert body == {
        "model": "fireworks/qwen3-reranker-8b",
        "query": QUERY,
        "documents": DOCUMENTS,
        "return_documents": False,
        "task": "Find the capital",
    }


def test_results_under_another_name_raise_validation_error(mode: Mode) -> None:
    rows = [{"index": index, "relevance_score": 0.5} for index in range(3)]
    reranker = mode.reranker(MODEL, http_client=answering({"results": rows}).client(mode))
    with pytest.raises(APIResponseValidationError, match="no list 'data'"):
        mode.rerank(reranker, QUERY, DOCUMENTS)


@pytest.mark.parametrize(
    ("used", "billed", "tokens"),
    [
        ({"prompt_tokens": 8, "total_tokens": 9, "completion_tokens": 1}, {"total_tokens": 9}, (8, 1)),
        ({"prompt_tokens": 8, "total_tokens": 8, "completion_tokens": 0}, {"total_tokens": 8}, (8, 0)),
        ({"prompt_tokens": 8, "total_tokens": 9}, {"total_tokens": 9}, (8, None)),
        ({"total_tokens": 9}, {"total_tokens": 9}, None),
        (None, None, None),
    ],
)
def test_usage_is_read_as_tokens(used: Any, billed: Any, tokens: Any, mode: Mode) -> None:
    replay = answering({"data": [{"index": 0, "relevance_score": 0.5, "document": "an echo"}], "usage": used})
    meta = mode.rerank(mode.reranker(MODEL, http_client=replay.client(mode)), QUERY, ["Ottawa"]).meta
    assert meta.billed_units == billed
    assert ((meta.tokens.input_tokens, meta.tokens.output_tokens) if meta.tokens else None) == tokens


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"object": "error", "type": "x", "code": "y", "param": None, "message": "says why"}},
        {"message": "says why"},
        {"error": "says why"},
    ],
)
@pytest.mark.parametrize("status", [400, 404, 412, 503])
def test_error_message_is_read_wrapped_and_unwrapped(body: Any, status: int, mode: Mode) -> None:
    reranker = mode.reranker(MODEL, http_client=answering(body, status).client(mode))
    with pytest.raises(RerankError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.message == f"Fireworks AI answered {status}: says why"
