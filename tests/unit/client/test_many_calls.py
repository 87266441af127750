"""`rerank_many` and `arerank_many`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support.harness import Mode
from tests.support.loopback import MAX_WAIT, Line, Loopback, well
from tests.unit.client.calls import DOCUMENTS, QUERY, indexes, numbered

from anyrerank import (
    AuthenticationError,
    BadRequestError,
)


def test_rerank_many_returns_responses_in_order(mode: Mode, server: Loopback) -> None:
    together = threading.Barrier(4)

    def script(line: Line) -> None:
        together.wait(MAX_WAIT)
        well(line)

    server.script = script
    queries = [f"query {number}" for number in range(4)]
    lists = [[f"x {number + 2}", f"y {number + 1}"] for number in range(4)]
    answers = mode.rerank_many(mode.reranker(api_base=server.url), queries, lists)
    assert [answer.results[0].document for answer in answers] == [{"text": f"y {number + 1}"} for number in range(4)]
    assert sorted(hit.json["query"] for hit in server.hits) == queries


@pytest.mark.parametrize("limit", [1, 3])
def test_rerank_many_shares_max_concurrency_with_batches(limit: int, mode: Mode, server: Loopback) -> None:
    lock, now, peak = threading.Lock(), [0], [0]

    def script(line: Line) -> None:
        with lock:
            now[0] += 1
            peak[0] = max(peak[0], now[0])
        line.client_left(0.01)
        with lock:
            now[0] -= 1
        well(line)

    server.script = script
    reranker = mode.reranker(api_base=server.url, batch_size=2, max_concurrency=limit)
    answers = mode.rerank_many(reranker, [QUERY] * 4, [numbered(6)] * 4)
    assert [indexes(answer) for answer in answers] == [[5, 4, 3, 2, 1, 0]] * 4
    assert len(server.hits) == 12
    assert peak[0] <= limit


def test_rerank_many_returns_or_raises_errors(mode: Mode, server: Loopback) -> None:
    server.script = lambda line: line.answer(401) if line.hit.json["query"] == "bad" else well(line)
    reranker = mode.reranker(api_base=server.url)
    answers = mode.rerank_many(reranker, ["a", "bad", "c", " "], [DOCUMENTS] * 4, return_exceptions=True)
    assert isinstance(answers[1], AuthenticationError)
    assert isinstance(answers[3], BadRequestError)
    assert [indexes(answers[index]) for index in (0, 2)] == [[1, 2, 0]] * 2
    with pytest.raises(AuthenticationError):
        mode.rerank_many(reranker, ["a", "bad"], [DOCUMENTS] * 2)


def test_rerank_many_overrides_options(mode: Mode, server: Loopback) -> None:
    reranker = mode.reranker(api_base=server.url, top_n=3)
    answers = mode.rerank_many(reranker, ["a", "b"], [DOCUMENTS] * 2, top_n=1, priority=2)
    assert [len(answer.results) for answer in answers] == [1, 1]
    assert [hit.json["priority"] for hit in server.hits] == [2, 2]
    assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 3
    assert "priority" not in server.hits[-1].json


def test_rerank_many_of_nothing_is_empty(mode: Mode, server: Loopback) -> None:
    assert mode.rerank_many(mode.reranker(api_base=server.url), [], []) == []


@pytest.mark.parametrize(("queries", "lists"), [("abc", [DOCUMENTS] * 3), (["a", "b"], [DOCUMENTS])])
def test_rerank_many_refuses_lists_of_different_length(queries: Any, lists: Any, mode: Mode, server: Loopback) -> None:
    with pytest.raises(BadRequestError, match="a list of queries, and a list of documents for each"):
        mode.rerank_many(mode.reranker(api_base=server.url), queries, lists)
    assert server.hits == []


@pytest.mark.parametrize(("queries", "documents"), [(3, []), ("q", ["d"]), (["q"], 3), (None, None), (["q"], [])])
def test_rerank_many_refuses_what_is_no_list_of_queries(queries: Any, documents: Any, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="needs a list of queries"):
        mode.rerank_many(mode.reranker("local/lexical"), queries, documents)


@pytest.mark.parametrize(
    ("queries", "documents"),
    [({"a": 1}, [["d"]]), ({"a"}, [["d"]]), (["a"], {"x": ["d"]}), (["a"], {"d"})],
    ids=["mapping", "set", "mapping of documents", "set of documents"],
)
def test_rerank_many_refuses_what_has_no_order(queries: Any, documents: Any, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="needs a list of queries"):
        mode.rerank_many(mode.reranker("local/lexical"), queries, documents)


@pytest.mark.parametrize("kind", [pd.Series, lambda items: np.array(items, dtype=object), tuple])
def test_rerank_many_takes_columns_of_a_data_frame(kind: Callable[[Any], Any], mode: Mode, server: Loopback) -> None:
    answers = mode.rerank_many(mode.reranker(api_base=server.url), kind(["a", "b"]), kind([DOCUMENTS, ["x 1", "y 2"]]))
    assert [indexes(answer) for answer in answers] == [[1, 2, 0], [0, 1]]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ((" ", DOCUMENTS), r"queries\[1\]: query must not be blank"),
        ((None, DOCUMENTS), r"queries\[1\]: query must be a string"),
        (("b", [*DOCUMENTS, 5]), r"queries\[1\]: documents\[3\] must be a string"),
        (("b", "one text"), r"queries\[1\]: documents must be a sequence"),
    ],
)
def test_rerank_many_sends_nothing_if_one_query_is_wrong(
    wrong: tuple[Any, Any], problem: str, mode: Mode, server: Loopback
) -> None:
    query, documents = wrong
    reranker = mode.reranker(api_base=server.url, max_concurrency=1)
    with pytest.raises(BadRequestError, match=problem) as caught:
        mode.rerank_many(reranker, ["a", query], [DOCUMENTS, documents])
    assert (server.hits, caught.value.provider) == ([], "cohere")


def test_rerank_many_reads_an_iterable_of_documents_once(mode: Mode, server: Loopback) -> None:
    (answer,) = mode.rerank_many(mode.reranker(api_base=server.url), ["a"], [(each for each in DOCUMENTS)])  # type: ignore[list-item]
    assert indexes(answer) == [1, 2, 0]
