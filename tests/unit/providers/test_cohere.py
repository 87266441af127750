"""Cohere: two API versions, selected by the URL and by the options."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, sent_by

from anyrerank import BadRequestError
from anyrerank._core.engine import connect

MODEL = "cohere/rerank-v3.5"
HOST = "https://gw.example"


@pytest.mark.parametrize(
    ("base", "plain", "with_chunks"),
    [
        (None, "https://api.cohere.com/v2/rerank", "https://api.cohere.com/v1/rerank"),
        ("https://api.cohere.ai/", "https://api.cohere.ai/v2/rerank", "https://api.cohere.ai/v1/rerank"),
        (HOST, f"{HOST}/v2/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}///", f"{HOST}/v2/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}/v1", f"{HOST}/v1/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}/v1/", f"{HOST}/v1/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}/v1/rerank/", f"{HOST}/v1/rerank", f"{HOST}/v1/rerank"),
        (f"{HOST}/a/b", f"{HOST}/a/b/v2/rerank", f"{HOST}/a/b/v1/rerank"),
        (f"{HOST}/a/v1", f"{HOST}/a/v1/rerank", f"{HOST}/a/v1/rerank"),
        (f"{HOST}/my-v1", f"{HOST}/my-v1/v2/rerank", f"{HOST}/my-v1/v1/rerank"),
        (f"{HOST}?t=1", f"{HOST}/v2/rerank?t=1", f"{HOST}/v1/rerank?t=1"),
        (f"{HOST}/v1/rerank?t=1&u=2", f"{HOST}/v1/rerank?t=1&u=2", f"{HOST}/v1/rerank?t=1&u=2"),
        ("http://localhost:8080/v1", "http://localhost:8080/v1/rerank", "http://localhost:8080/v1/rerank"),
    ],
)
def test_url_composition(base: str | None, plain: str, with_chunks: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base).url) == plain
    assert str(sent_by(sync_mode, MODEL, api_base=base, max_chunks_per_doc=3).url) == with_chunks


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        (f"{HOST}/v2", {"max_chunks_per_doc": 3}, "max_chunks_per_doc: not in Cohere's v2 API"),
        (f"{HOST}/v2/rerank", {"max_chunks_per_doc": 3}, "max_chunks_per_doc: not in Cohere's v2 API"),
        (f"{HOST}/v1", {"priority": 0}, "priority: not in Cohere's v1 API"),
        (HOST, {"max_chunks_per_doc": 3, "priority": 1}, "priority: not in Cohere's v1 API"),
        (HOST, {"max_chunks_per_doc": 0}, "max_chunks_per_doc must be"),
        (HOST, {"max_tokens_per_doc": 1.5}, "max_tokens_per_doc must be"),
        (HOST, {"max_tokens_per_doc": True}, "max_tokens_per_doc must be"),
        (HOST, {"priority": -1}, "priority must be"),
        (HOST, {"priority": "high"}, "priority must be"),
    ],
)
def test_wrong_option_raises_before_sending(base: str, options: dict[str, Any], message: str, mode: Mode) -> None:
    replay = Replay([])
    with pytest.raises(BadRequestError, match=message):
        mode.rerank(mode.reranker(MODEL, api_base=base, http_client=replay.client(mode), **options), QUERY, DOCUMENTS)
    assert replay.seen == []


def test_documents_for_v1_are_cut_here(sync_mode: Mode) -> None:
    options: dict[str, Any] = {"api_base": f"{HOST}/v1", "max_tokens_per_doc": 3, "rank_fields": ["title", "text"]}
    body = json.loads(sent_by(sync_mode, MODEL, [{"title": "Ottawa", "text": "A city.", "page": 3}], **options).content)
    assert body["documents"] == [{"title": "Ottawa", "text": "A c", "page": 3}]
    assert "max_tokens_per_doc" not in body


@pytest.mark.parametrize(("base", "whole"), [(f"{HOST}/v1", True), (f"{HOST}/v2", False)])
def test_mappings_and_rank_fields_are_sent_whole_only_to_v1(base: str, whole: bool, sync_mode: Mode) -> None:
    documents = [{"title": "Ottawa", "year": 1857, "text": "A city."}]
    request = sent_by(sync_mode, MODEL, documents, api_base=base, rank_fields=["year", "title", "absent"])
    body = json.loads(request.content)
    assert body["documents"] == (documents if whole else ["year: 1857\ntitle: Ottawa\n"])
    assert body.get("rank_fields") == (["year", "title", "absent"] if whole else None)


def test_return_documents_is_not_sent(sync_mode: Mode) -> None:
    for base in (f"{HOST}/v1", f"{HOST}/v2"):
        body = json.loads(sent_by(sync_mode, MODEL, api_base=base, return_documents=True).content)
        assert body.keys() == {"model", "query", "documents"}


@pytest.mark.parametrize(
    ("base", "options", "limit"),
    [
        (HOST, {}, 1000),
        (f"{HOST}/v1", {}, 999),
        (HOST, {"max_chunks_per_doc": 1}, 1000),
        (HOST, {"max_chunks_per_doc": 100}, 99),
        (HOST, {"max_chunks_per_doc": 50_000}, 1),
    ],
)
def test_max_documents_depends_on_version_and_chunks(base: str, options: dict[str, Any], limit: int) -> None:
    found = connect(MODEL, api_base=base).max_documents(options)
    assert found == limit
    # v1 wants the product of the two below 10,000, save where one document alone is above it
    if "max_chunks_per_doc" in options and found > 1:
        assert found * options["max_chunks_per_doc"] < 10_000
