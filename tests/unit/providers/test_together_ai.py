"""Together AI: mappings for one family of models, and status 403 for an input that is too long."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, answering, sent_by
from tests.support.loopback import ranking

from anyrerank import BadRequestError

MODEL = "together_ai/mixedbread-ai/mxbai-rerank-large-v2"
LLAMA_RANK = "together_ai/Salesforce/Llama-Rank-V1"
OBJECTS = [{"text": "Lisbon", "page": 4}, {"text": "Ottawa", "page": 9}]
TEXTS = ["Lisbon", "Ottawa"]
LINES = ["page: 4\n", "page: 9\n"]


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (None, "https://api.together.ai/v1/rerank"),
        ("https://api.together.xyz/v1/", "https://api.together.xyz/v1/rerank"),
        ("https://gw.example", "https://gw.example/rerank"),
        ("https://gw.example/a/b//", "https://gw.example/a/b/rerank"),
        ("https://gw.example/v1/rerank/", "https://gw.example/v1/rerank"),
        ("https://gw.example/v1?t=1", "https://gw.example/v1/rerank?t=1"),
    ],
)
def test_url_composition(base: str | None, url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base).url) == url


@pytest.mark.parametrize(
    ("model", "documents", "rank_fields", "sent", "fields"),
    [
        (MODEL, OBJECTS, None, TEXTS, None),
        (MODEL, OBJECTS, ["page"], OBJECTS, ["page"]),
        (MODEL, ["Lisbon", OBJECTS[1]], ["page"], ["Lisbon", LINES[1]], None),
        (MODEL, TEXTS, ["page"], TEXTS, None),
        (LLAMA_RANK, OBJECTS, None, OBJECTS, ["text"]),
        (LLAMA_RANK, OBJECTS, ["page", "text"], OBJECTS, ["page", "text"]),
        (LLAMA_RANK, ["Lisbon", OBJECTS[1]], None, TEXTS, None),
        (LLAMA_RANK, TEXTS, None, TEXTS, None),
        ("together_ai/salesforce/llama-rank-v1", OBJECTS, None, OBJECTS, ["text"]),
        ("together_ai/acme/dedicated", OBJECTS, None, TEXTS, None),
        (LLAMA_RANK, [MappingProxyType(each) for each in OBJECTS], None, OBJECTS, ["text"]),
    ],
)
def test_documents_are_all_sent_as_objects_or_all_as_texts(
    *, model: str, documents: list[Any], rank_fields: Any, sent: list[Any], fields: Any, mode: Mode
) -> None:
    body = json.loads(sent_by(mode, model, documents, rank_fields=rank_fields).content)
    assert body["documents"] == sent
    assert body.get("rank_fields") == fields
    assert body["return_documents"] is False


def test_blank_mapping_is_not_sent(sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, LLAMA_RANK, [{"text": " ", "page": 1}, *OBJECTS]).content)
    assert body["documents"] == OBJECTS


def test_status_403_is_not_retried(mode: Mode, waits: list[float]) -> None:
    replay = Replay(answering({"error": {"message": "Input is too long", "type": "x"}}, 403).exchanges * 3)
    reranker = mode.reranker(MODEL, max_retries=2, http_client=replay.client(mode))
    with pytest.raises(BadRequestError, match="Input is too long") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.status_code == 403
    assert len(replay.seen) == 1
    assert waits == []


def test_rate_limit_reset_is_respected(mode: Mode, waits: list[float]) -> None:
    refused = answering({"error": {"message": "Slow down", "type": "x"}}, 429, {"x-ratelimit-reset": "4"})
    replay = Replay([*refused.exchanges, *answering(ranking(DOCUMENTS)).exchanges])
    reranker = mode.reranker(MODEL, max_retries=1, http_client=replay.client(mode))
    assert len(mode.rerank(reranker, QUERY, DOCUMENTS).attempts) == 2
    assert waits == [4.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_mode": "unit"}, "score_mode='unit' is not possible"),
        ({"max_chunks_per_doc": 3}, "together_ai has no option max_chunks_per_doc"),
        ({"truncate": "END"}, "together_ai has no option truncate"),
        ({"instruction": "x"}, "together_ai has no option instruction"),
    ],
)
@pytest.mark.parametrize("model", [MODEL, LLAMA_RANK])
def test_unsupported_option_or_scale_raises(model: str, options: dict[str, Any], message: str, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match=message):
        sent_by(mode, model, **options)


def test_base_url_without_version_depends_on_its_variable(sync_mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_BASE_URL", "https://gw.example")
    assert str(sent_by(sync_mode, "together_ai/any").url) == "https://gw.example/v1/rerank"
    monkeypatch.setenv("TOGETHER_AI_API_BASE", "https://gw.example")
    assert str(sent_by(sync_mode, "together_ai/any").url) == "https://gw.example/rerank"
