"""Guardrails of the tests, and what a guarded call sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, Mode, Replay, answering

from anyrerank import (
    GuardrailRaisedError,
)

SECRET = "project Nightjar"
QUERY = f"when does {SECRET} start?"
ROWS = {"results": [{"index": index, "relevance_score": 0.5} for index in range(3)]}


def mask(query: str) -> str:
    return query.replace(SECRET, "<PROJECT>")


def explode(query: str) -> str:
    raise ValueError(f"not {query}")


def sent(mode: Mode, query: str, *guardrails: Any, **options: Any) -> str:
    """The query as it leaves the process."""
    replay = answering(ROWS)
    reranker = mode.reranker(http_client=replay.client(mode), guardrails=list(guardrails), **options)
    mode.rerank(reranker, query, DOCUMENTS)
    (request,) = replay.seen
    body = json.loads(request.content)
    assert body["documents"] == DOCUMENTS
    found: str = body["query"]
    return found


def blocked(mode: Mode, query: str, *guardrails: Any, **options: Any) -> GuardrailRaisedError:
    replay = Replay([])
    reranker = mode.reranker(http_client=replay.client(mode), guardrails=list(guardrails), **options)
    with pytest.raises(GuardrailRaisedError) as caught:
        mode.rerank(reranker, query, DOCUMENTS)
    assert replay.seen == []
    return caught.value
