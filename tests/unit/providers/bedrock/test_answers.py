"""Answers of AWS Bedrock, and their pages."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx
import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, answering
from tests.unit.providers.bedrock.signed import MODEL, ROWS, SIGNED, rerank, signature, signature_in

from anyrerank import (
    APIResponseValidationError,
    RateLimitError,
)


def test_answer_is_read_with_estimated_search_units(mode: Mode) -> None:
    echoed = [{**row, "document": {"type": "TEXT", "textDocument": {"text": "an echo"}}} for row in reversed(ROWS)]
    replay = answering({"results": echoed}, headers={"x-amzn-requestid": "rq-7"})
    response = rerank(mode, replay)
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.75), (0, 0.5), (2, 0.25)]
    assert [each.document for each in response.results] == [{"text": DOCUMENTS[index]} for index in (1, 0, 2)]
    assert (response.id, response.request_id) == ("rq-7", "rq-7")
    assert response.meta == {
        "billed_units": {"search_units": 1},
        "estimated": True,
    }
    assert rerank(mode, answering({"results": ROWS})).id.startswith("rerank-")


@pytest.mark.parametrize(
    "rows",
    [
        [{"index": 0, "relevance_score": 0.5}] * 3,
        ROWS[:2],
        [*ROWS, ROWS[0]],
        [*ROWS[:2], {"index": 3, "relevanceScore": 0.5}],
        [*ROWS[:2], {"index": 2, "relevanceScore": "0.5"}],
        [*ROWS[:2], {"index": True, "relevanceScore": 0.5}],
        [*ROWS[:2], {"relevanceScore": 0.5}],
        [*ROWS[:2], None],
        None,
    ],
)
def test_malformed_answer_raises_validation_error(rows: Any, mode: Mode) -> None:
    with pytest.raises(APIResponseValidationError):
        rerank(mode, answering({"results": rows}))


def pages(*bodies: Any) -> Replay:
    return Replay(
        [{"response": {"status": 200, "headers": {"x-amzn-requestid": "rq"}, "json": body}} for body in bodies]
    )


def test_pages_are_joined_into_one_answer(mode: Mode) -> None:
    replay = pages(
        {"results": ROWS[:1], "nextToken": "t-1"}, {"results": [], "nextToken": "t-2"}, {"results": ROWS[1:]}
    )
    response = rerank(mode, replay, extra_body={"beta": 1})
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.75), (0, 0.5), (2, 0.25)]
    assert len(response.attempts) == 1
    first, *others = (json.loads(request.content) for request in replay.seen)
    assert others == [{**first, "nextToken": "t-1"}, {**first, "nextToken": "t-2"}]
    for request in replay.seen:
        assert signature_in(request) == signature(request, "us-west-2")


@pytest.mark.parametrize(
    "last",
    [
        {"results": ROWS[1:], "nextToken": "t-1"},
        {"results": ROWS[1:], "nextToken": 7},
        {"results": ROWS[1:2]},
        {"results": ROWS[:1] + ROWS[1:2]},
        {"results": None},
        {},
        [],
    ],
    ids=["token repeated", "token no text", "too few", "index repeated", "no list", "no results", "no object"],
)
def test_malformed_page_raises_validation_error(last: Any, mode: Mode) -> None:
    replay = pages({"results": ROWS[:1], "nextToken": "t-1"}, last, {"results": ROWS[1:]})
    with pytest.raises(APIResponseValidationError):
        rerank(mode, replay)
    assert len(replay.seen) == 2


def test_failing_page_raises_its_error(mode: Mode) -> None:
    failure = {"status": 429, "headers": {"x-amzn-requestid": "rq-2"}, "json": {"message": "slow down"}}
    replay = Replay(
        [{"response": {"status": 200, "json": {"results": ROWS[:1], "nextToken": "t"}}}, {"response": failure}]
    )
    with pytest.raises(RateLimitError, match="slow down") as caught:
        rerank(mode, replay)
    assert caught.value.request_id == "rq-2"


@pytest.mark.parametrize(("top_n", "results"), [(None, 1002), (3, 3)])
def test_more_than_1000_documents_are_split(top_n: int | None, results: int, mode: Mode) -> None:
    asked: list[tuple[int, int]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        texts = [source["inlineDocumentSource"]["textDocument"]["text"] for source in body["sources"]]
        count = body["rerankingConfiguration"]["bedrockRerankingConfiguration"]["numberOfResults"]
        asked.append((len(texts), count))
        rows = [{"index": index, "relevanceScore": 1 / (2000 - int(each))} for index, each in enumerate(texts)]
        return httpx.Response(200, json={"results": rows[::-1][:count]})

    client = mode.client(transport=httpx.MockTransport(answer))
    reranker = mode.reranker(MODEL, **SIGNED, http_client=client)
    response = mode.rerank(reranker, QUERY, [str(index) for index in range(1002)], top_n=top_n)
    assert sorted(asked) == [(2, min(2, top_n or 2)), (1000, top_n or 1000)]
    assert [each.index for each in response.results] == list(range(1001, -1, -1))[:results]
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.search_units == math.ceil(1000 / 100) + 1
    assert response.meta.estimated
