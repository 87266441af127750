"""Infinity: a path without a version, three kinds of echoes, and two scales."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, answering, leaks, sent_by
from tests.support.loopback import Line, Loopback, relevance

from anyrerank import BadRequestError
from anyrerank._core.engine import connect

MODEL = "infinity/mixedbread-ai/mxbai-rerank-xsmall-v1"
HOST = "http://infinity.example:7997"


@pytest.mark.parametrize(
    ("base", "path"),
    [
        (HOST, "/rerank"),
        (f"{HOST}/rerank/", "/rerank"),
        (f"{HOST}/v1", "/v1/rerank"),
        (f"{HOST}/models/a", "/models/a/rerank"),
        (f"{HOST}/my-rerank", "/my-rerank/rerank"),
    ],
)
def test_path_has_no_version(base: str, path: str, sync_mode: Mode) -> None:
    assert sent_by(sync_mode, MODEL, api_base=base).url.path == path


@pytest.mark.parametrize("key", [None, "", " "])
def test_missing_key_sends_no_authorization(key: str | None, sync_mode: Mode) -> None:
    assert "authorization" not in sent_by(sync_mode, MODEL, api_base=HOST, api_key=key).headers


@pytest.mark.parametrize(
    ("options", "scores"),
    [
        ({}, [0.75, 0.5, 0.25]),
        ({"raw_scores": False}, [0.75, 0.5, 0.25]),
        ({"raw_scores": True}, [0.679178699175393, 0.6224593312018546, 0.5621765008857981]),
    ],
)
def test_unit_scores_depend_on_raw_scores(options: dict[str, Any], scores: list[float], mode: Mode) -> None:
    rows = [{"index": index, "relevance_score": score} for index, score in enumerate([0.75, 0.5, 0.25])]
    replay = answering({"results": rows})
    reranker = mode.reranker(MODEL, api_base=HOST, http_client=replay.client(mode), score_mode="unit", **options)
    found = mode.rerank(reranker, QUERY, DOCUMENTS).results
    assert [each.relevance_score for each in found] == pytest.approx(scores, abs=1e-12)
    assert json.loads(replay.seen[0].content).get("raw_scores") == options.get("raw_scores")


@pytest.mark.parametrize("echo", ["another text", None, {"text": "another text"}])
def test_echoed_documents_are_ignored(echo: Any, mode: Mode) -> None:
    rows = [{"index": index, "relevance_score": 0.5, "document": echo} for index in range(3)]
    reranker = mode.reranker(MODEL, api_base=HOST, http_client=answering({"results": rows}).client(mode))
    found = mode.rerank(reranker, QUERY, DOCUMENTS).results
    assert [each.document for each in found] == [{"text": text} for text in DOCUMENTS]


def test_more_than_2048_documents_are_split(serve: Callable[..., Loopback], mode: Mode) -> None:
    def answer(line: Line) -> None:
        texts = line.hit.documents
        if len(texts) > 2048:
            line.answer(422, {"detail": [{"loc": ["body", "documents"], "msg": "List should have at most 2048 items"}]})
            return
        rows = [{"index": index, "relevance_score": relevance(text)} for index, text in enumerate(texts)]
        line.answer(body={"id": "infinity-1", "results": rows, "usage": {"total_tokens": len(texts)}})

    assert connect(MODEL).max_documents({}) == 2048
    server = serve(answer)
    documents = [f"Passage {index}" for index in range(2050)]
    response = mode.rerank(mode.reranker(MODEL, api_base=server.url), QUERY, documents[::-1])
    assert sorted(len(hit.documents) for hit in server.hits) == [2, 2048]
    assert [each.index for each in response.results] == list(range(2049, -1, -1))
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.total_tokens == 2050


def test_validation_error_shows_no_input(mode: Mode) -> None:
    lines = [
        {
            "type": "string_type",
            "loc": ["body", "documents", index],
            "msg": "Input should be a valid string",
            "input": text,
        }
        for index, text in enumerate(DOCUMENTS)
    ]
    replay = answering({"detail": lines}, status=422)
    with pytest.raises(BadRequestError, match=r"body\.documents\.2: Input should be a valid string") as caught:
        mode.rerank(mode.reranker(MODEL, api_base=HOST, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert not leaks(caught.value, DOCUMENTS)
    assert len(replay.seen) == 1


def test_full_queue_is_retried(mode: Mode, waits: list[float]) -> None:
    full = {"error": {"message": "model overloaded", "type": None, "param": None, "code": 429}}
    rows = [{"index": index, "relevance_score": 0.5} for index in range(3)]
    replay = Replay(
        [{"response": {"status": 429, "json": full}}, {"response": {"status": 200, "json": {"results": rows}}}]
    )
    reranker = mode.reranker(MODEL, api_base=HOST, http_client=replay.client(mode), max_retries=1)
    assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 3
    assert len(waits) == 1
