"""`collect` and `agreement`: comparing rerankers without labels."""

from __future__ import annotations

import httpx
import pytest
from tests.support.frameworks import Wire, well
from tests.support.harness import KEY

from anyrerank import BadRequestError, Reranker
from anyrerank.evaluation import Dataset, Outcome, agreement, collect

# The wire scores a document by the number at its end.
UNLABELLED = Dataset(
    queries={"q1": "one", "q2": "two"},
    documents={"a": "a 0.9", "b": "b 0.5", "c": "c 0.1"},
    candidates={"q1": ["c", "b", "a"], "q2": ["a", "b", "c"]},
)


def reversed_scores(request: httpx.Request) -> httpx.Response:
    body = well(request).json()
    rows = [{**row, "relevance_score": -row["relevance_score"]} for row in body["results"]]
    return httpx.Response(200, json={**body, "results": rows})


def reranker_on(wire: Wire) -> Reranker:
    client = httpx.Client(transport=httpx.MockTransport(wire))
    return Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, max_retries=0)


def test_agreement_of_equal_and_reversed_rankings_is_complete_and_none() -> None:
    rerankers = {"one": reranker_on(Wire()), "two": reranker_on(Wire()), "three": reranker_on(Wire(reversed_scores))}
    outcomes = collect(rerankers, UNLABELLED, cache=None, announce=lambda line: None)
    pairs = {(pair.first, pair.second): (pair.overlap, pair.tau) for pair in agreement(outcomes, k=1).pairs}
    assert pairs == {("one", "two"): (1.0, 1.0), ("one", "three"): (0.0, -1.0), ("two", "three"): (0.0, -1.0)}
    assert "one / two" in str(agreement(outcomes))
    assert "one / two" in agreement(outcomes)._repr_html_()


def test_agreement_lists_the_queries_with_least_overlap_first() -> None:
    one = {"q1": Outcome(["a", "b"]), "q2": Outcome(["a", "b"])}
    other = {"q1": Outcome(["a", "b"]), "q2": Outcome(["b", "a"])}
    assert list(agreement({"one": one, "other": other}, k=1).queries_by_disagreement) == ["q2", "q1"]


def test_agreement_of_a_single_ranking_raises() -> None:
    with pytest.raises(BadRequestError, match="at least two"):
        agreement({"one": {"q1": Outcome(["a"])}})
