"""`saved`: the US dollars that a call without the cache would cost more."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.support.frameworks import Wire
from tests.support.harness import QUERY, Mode
from tests.unit.engine.cached import TEXTS, served


@pytest.mark.parametrize(
    ("price", "new", "saved"),
    [
        ({}, 10, 0.0),  # one search with the cache, and one without
        ({}, 60, 90 * 2e-5),  # two searches without the cache
        ({}, 110, 0.0),  # two with the cache too
        ({"input_cost_per_token": 1e-6}, 10, 90 * 1e-6),
        ({"input_cost_per_query": 0.0}, 10, 0.0),
    ],
    ids=str,
)
def test_saved_is_what_a_call_without_the_cache_would_cost_more(
    mode: Mode, price: dict[str, Any], new: int, saved: float
) -> None:
    def billed(request: httpx.Request) -> httpx.Response:
        count = len(json.loads(request.content)["documents"])
        rows = [{"index": index, "relevance_score": 0.5} for index in range(count)]
        units = {"search_units": -(-count // 100), "total_tokens": count}
        return httpx.Response(200, json={"results": rows, "meta": {"billed_units": units}})

    reranker = served(mode, Wire(billed), **price)
    mode.rerank(reranker, QUERY, [f"text {number}" for number in range(100)])
    response = mode.rerank(reranker, QUERY, [f"text {number}" for number in range(10, 100 + new)])
    assert response.cached == 90
    assert response.saved == pytest.approx(saved)


def test_saved_is_not_more_than_one_call_for_scores_of_several(mode: Mode) -> None:
    reranker = served(mode, Wire())
    for text in TEXTS:
        assert mode.rerank(reranker, QUERY, [text]).cost == 0.002
    assert mode.rerank(reranker, QUERY, TEXTS).saved == pytest.approx(0.002)


def test_unknown_cost_is_not_saved_as_zero(mode: Mode) -> None:
    reranker = served(mode, Wire(), "cohere/unheard-of")
    assert mode.rerank(reranker, QUERY, TEXTS).cost is None
    again = mode.rerank(reranker, QUERY, TEXTS)
    assert (again.cost, again.cached, again.saved) == (0.0, 3, None)
