"""Results and rankings."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError
from tests.unit.types.examples import DOCUMENTS, ROWS, response, some_ranking, some_results

from anyrerank._core.types import (
    Ranking,
    RerankResult,
    Results,
)


def test_results_are_a_list() -> None:
    results = response().results
    assert isinstance(results, list)
    assert len(results) == 3
    assert list(results) == ROWS
    assert [results[place] for place in range(3)] == ROWS
    assert [results[place] for place in (-3, -2, -1)] == ROWS
    assert list(reversed(results)) == ROWS[::-1]
    assert ROWS[1] in results
    assert (results.index(ROWS[2]), results.count(ROWS[0])) == (2, 1)
    assert all(type(result) is RerankResult for result in results)


@pytest.mark.parametrize("place", [3, -4])
def test_index_out_of_range_is_an_index_error(place: int) -> None:
    with pytest.raises(IndexError):
        some_results()[place]


def test_document_is_a_mapping_and_a_given_mapping_is_not_copied() -> None:
    results = some_results()
    assert results[0].document == {"text": "alpha"}
    assert results[1].document is DOCUMENTS[1]
    assert [result.document for result in Ranking([0, 1], [1.0, 0.5])] == [None, None]


def test_results_have_indexes_and_scores() -> None:
    results = some_results()
    assert (results.indexes, results.scores) == ((2, 0, 1), (0.75, 0.25, None))
    assert list(results.pairs()) == [(2, 0.75), (0, 0.25), (1, None)]


def test_ranking_is_what_the_results_say_and_creates_none() -> None:
    answer = response()
    for _ in range(2):
        ranking = answer.ranking
        assert (ranking.indexes, ranking.scores, len(ranking)) == ((2, 0, 1), (0.75, 0.25, None), 3)
        assert list(ranking.pairs()) == [(2, 0.75), (0, 0.25), (1, None)]
        assert answer.results is answer.results
    assert type(response().ranking) is Ranking
    assert response(results=Ranking()).ranking == Results()


def test_equal_results_are_equal() -> None:
    assert some_results() == some_results()
    assert some_results() == ROWS
    assert Results() == Results()
    assert not Results()


@pytest.mark.parametrize(
    "other",
    [
        Ranking(),
        Ranking([2, 0, 1], [0.75, 0.25, None]),
        Ranking([2, 0, 1], [0.75, 0.25, 0.0], DOCUMENTS),
        Ranking([2, 1, 0], [0.75, 0.25, None], DOCUMENTS),
        Ranking([2, 0], [0.75, 0.25], DOCUMENTS[:2]),
        Ranking([2, 0, 1], [0.75, 0.25, None], ["other", *DOCUMENTS[1:]]),
        "results",
        None,
    ],
)
def test_different_results_are_not_equal(other: object) -> None:
    assert some_results() != other
    assert some_ranking() != other
    assert response() != response(results=other if isinstance(other, Ranking) else None)


def test_results_can_be_given_as_rows() -> None:
    assert response(results=[{"index": 0, "relevance_score": 1, "document": {"text": "a"}}]).results == Ranking(
        [0], [1.0], ["a"]
    )
    assert response(results=ROWS).results == some_results()


@pytest.mark.parametrize(
    "wrong", ["results", [{"relevance_score": 1.0}], [{"index": "first", "relevance_score": 1.0}], [3]]
)
def test_invalid_results_are_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        response(results=wrong)


PLAIN = [
    {"index": 2, "relevance_score": 0.75, "document": {"text": "alpha"}},
    {"index": 0, "relevance_score": 0.25, "document": {"text": "beta", "page": 3}},
    {"index": 1, "relevance_score": None, "document": {"text": ""}},
]


@pytest.mark.parametrize("dumps", [json.dumps, partial(json.dumps, indent=1), orjson.dumps])
def test_results_are_plain_json(dumps: Callable[[Any], str]) -> None:
    assert json.loads(dumps(response().results)) == PLAIN
    assert json.loads(dumps(response().results[1])) == PLAIN[1]
    assert json.loads(dumps(response()["results"])) == json.loads(dumps(dict(response())["results"])) == PLAIN


def test_results_are_a_list_for_what_reads_lists_natively() -> None:
    answer = response()
    assert TypeAdapter(list[dict[str, Any]]).validate_python(answer.results) == PLAIN
    assert [*answer.results, *[]] == answer.results + [] == PLAIN  # noqa: RUF005
    assert sorted(answer.results, key=lambda row: row["index"]) == [PLAIN[1], PLAIN[2], PLAIN[0]]


def test_result_is_a_dict() -> None:
    first = response().results[0]
    assert isinstance(first, dict)
    assert first == PLAIN[0]
    assert list(first.items()) == list(PLAIN[0].items())
    assert (list(first), len(first)) == (["index", "relevance_score", "document"], 3)
