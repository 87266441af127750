"""How every provider reads an answer: valid indexes, finite scores, and only usage that is reported."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from tests.contract.provider_dialect import (
    DOCUMENTS,
    QUERY,
    Dialect,
    each_http_provider,
    each_provider,
)
from tests.support.harness import KEY, Mode, Replay, answering, leaks

from anyrerank import APIResponseValidationError, BadRequestError

BAD_INDEXES: dict[str, list[tuple[Any, Any]]] = {
    "out of range": [(0, 0.5), (1, 0.25), (3, 0.125)],
    "negative": [(0, 0.5), (1, 0.25), (-1, 0.125)],
    "boolean": [(0, 0.5), (True, 0.25), (2, 0.125)],
    "fractional": [(0, 0.5), (1.5, 0.25), (2, 0.125)],
    "a whole float": [(0, 0.5), (1.0, 0.25), (2, 0.125)],
    "text": [(0, 0.5), ("1", 0.25), (2, 0.125)],
    "index null": [(0, 0.5), (None, 0.25), (2, 0.125)],
    "repeated": [(0, 0.5), (1, 0.25), (1, 0.125)],
}
BAD_ROWS: dict[str, list[tuple[Any, Any]]] = {
    **BAD_INDEXES,
    "fewer": [(0, 0.5), (1, 0.25)],
    "none": [],
    "score null": [(0, 0.5), (1, None), (2, 0.125)],
    "score text": [(0, 0.5), (1, "0.25"), (2, 0.125)],
    "score boolean": [(0, 0.5), (1, True), (2, 0.125)],
    "score list": [(0, 0.5), (1, [0.25]), (2, 0.125)],
    "score NaN": [(0, 0.5), (1, math.nan), (2, 0.125)],
    "score infinite": [(0, 0.5), (1, math.inf), (2, 0.125)],
    "score too long": [(0, 0.5), (1, 10**400), (2, 0.125)],
}


@each_http_provider
@pytest.mark.parametrize("fault", list(BAD_ROWS))
def test_bad_row_raises_validation_error(name: str, fault: str, mode: Mode) -> None:
    dialect = Dialect(name)
    if fault in dialect.recorded["answer"].get("allows", ()) or (dialect.is_positional and fault in BAD_INDEXES):
        pytest.skip("not a fault in this dialect")
    with pytest.raises(APIResponseValidationError) as caught:
        dialect.rerank(mode, dialect.answer(BAD_ROWS[fault]))
    assert not leaks(caught.value, [KEY, QUERY, *DOCUMENTS])


@each_http_provider
def test_server_that_is_not_told_top_n_must_answer_every_document(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    rows = [(0, 0.5), (1, 0.25)]
    if dialect.kind.sends_top_n and not dialect.is_positional:
        assert len(dialect.rerank(mode, dialect.answer(rows), top_n=1)[0].results) == 1
        return
    with pytest.raises(APIResponseValidationError) as caught:
        dialect.rerank(mode, dialect.answer(rows), top_n=1)
    assert "base URL" not in caught.value.message or dialect.is_positional


@each_http_provider
def test_declared_top_n_is_on_the_wire(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    if dialect.is_positional:
        pytest.skip("scores come for every document")
    _, (plain,) = dialect.rerank(mode, dialect.answer())
    _, (cut,) = dialect.rerank(mode, dialect.answer(), top_n=1)
    assert (plain.content != cut.content) == dialect.kind.sends_top_n


@pytest.mark.parametrize("name", ["cohere_compatible", "jina_compatible", "hosted_vllm", "huggingface", "sglang"])
def test_other_usual_name_of_the_score_is_read_where_the_own_is_absent(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    own = dialect.recorded["answer"]["score"]
    other = {"score": "relevance_score", "relevance_score": "score"}[own]
    rows = [{"index": 0, other: 0.25}, {"index": 1, other: 0.75}, {"index": 2, other: 0.5}]
    response, _ = dialect.rerank(mode, dialect.answer_around(rows))
    assert list(response.results.pairs()) == [(1, 0.75), (2, 0.5), (0, 0.25)]
    mixed = [rows[0], {"index": 1, own: 0.5}, rows[2]]
    with pytest.raises(APIResponseValidationError, match=own):
        dialect.rerank(mode, dialect.answer_around(mixed))


@each_http_provider
@pytest.mark.parametrize(("score", "shown"), [(math.nan, "nan"), (-math.inf, "-inf"), (None, "not a number")])
def test_score_that_is_no_number_is_named(name: str, score: float | None, shown: str, mode: Mode) -> None:
    dialect = Dialect(name)
    with pytest.raises(APIResponseValidationError, match=r"\[1\]") as caught:
        dialect.rerank(mode, dialect.answer([(0, 0.5), (1, score), (2, 0.125)]))
    message = caught.value.message
    assert shown in message
    assert dialect.kind.title in message
    assert "JSON" not in message
    assert "base URL" not in message


@each_http_provider
def test_number_that_is_not_finite_elsewhere_is_ignored(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    body = dialect.answer()
    if isinstance(body, dict):
        body = {**body, "note": math.nan}
    response, _ = dialect.rerank(mode, body)
    assert len(response.results) == 3


@each_http_provider
@pytest.mark.parametrize("missing", ["index", "score"])
def test_row_without_index_or_score_raises_validation_error(name: str, missing: str, mode: Mode) -> None:
    dialect = Dialect(name)
    form = dialect.recorded["answer"]
    if dialect.is_positional or f"no {missing}" in form.get("allows", ()):
        pytest.skip("not a fault in this dialect")
    rows = [dialect.row(index, 0.5) for index in range(3)]
    del rows[1][form[missing]]
    with pytest.raises(APIResponseValidationError):
        dialect.rerank(mode, dialect.answer_around(rows))


@each_http_provider
@pytest.mark.parametrize("top_n", [None, 1, 2, 3, 9])
def test_results_are_sorted_and_cut_whatever_the_server_does(name: str, top_n: int | None, mode: Mode) -> None:
    dialect = Dialect(name)
    response, _ = dialect.rerank(mode, dialect.answer([(0, 0.25), (1, 0.5), (2, 0.5)]), top_n=top_n)
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.5), (2, 0.5), (0, 0.25)][:top_n]


@each_http_provider
def test_scores_are_floats(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    response, _ = dialect.rerank(mode, dialect.answer([(0, 1), (1, 0.5), (2, 0)]))
    assert [type(each.relevance_score) for each in response.results] == [float] * 3


@each_provider
def test_unit_scores_follow_the_declared_scale(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    raw = [row["relevance_score"] for row in dialect.expected["results"]]
    reranker = dialect.reranker(mode, Replay(dialect.exchanges))
    unit_call = partial(mode.rerank, reranker, QUERY, DOCUMENTS, score_mode="unit")
    if dialect.kind.scale == "unknown":
        with pytest.raises(BadRequestError, match="score_mode='unit'"):
            unit_call()
        return
    unit = [each.relevance_score for each in unit_call().results]
    assert all(score is not None and 0 <= score <= 1 for score in unit)
    if dialect.exchanges:
        expected = raw if dialect.kind.scale == "unit" else [1 / (1 + math.exp(-score)) for score in raw]
        assert unit == pytest.approx(expected)


# Bodies that are not answers

NOT_ANSWERS: dict[str, Any] = {
    "empty": "",
    "blank": " \n",
    "html": "<!doctype html><html><body>It works!</body></html>",
    "text": "OK",
    "not utf-8": b"\xff\xfe\x00",
    "null": "null",
    "number": "1",
    "string": '"results"',
    "list of strings": '["a", "b", "c"]',
    "empty object": "{}",
    "error in a 200": '{"error": {"message": "overloaded"}}',
    "deep": "[" * 5000,
}


@each_http_provider
@pytest.mark.parametrize("body", list(NOT_ANSWERS.values()), ids=list(NOT_ANSWERS))
def test_body_that_is_not_an_answer_raises_validation_error(name: str, body: str | bytes, mode: Mode) -> None:
    with pytest.raises(APIResponseValidationError) as caught:
        Dialect(name).rerank(mode, body)
    assert caught.value.status_code == 200
    assert caught.value.provider == name


@each_http_provider
@pytest.mark.parametrize("rows", [None, {}, "abc", 3, True, ["a", "b", "c"], [None] * 3, [[0, 0.5]] * 3])
def test_results_of_the_wrong_type_raise_validation_error(name: str, rows: Any, mode: Mode) -> None:
    dialect = Dialect(name)
    with pytest.raises(APIResponseValidationError):
        dialect.rerank(mode, dialect.answer_around(rows))


@each_http_provider
def test_truncated_answer_raises_validation_error(name: str, sync_mode: Mode) -> None:
    dialect = Dialect(name)
    whole = json.dumps(dialect.answer())
    for end in range(len(whole)):
        with pytest.raises(APIResponseValidationError):
            dialect.rerank(sync_mode, whole[:end])


# Usage


@each_provider
def test_usage_is_read_or_absent_as_recorded(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    usage = dialect.recorded["usage"]
    if usage is None:
        response = mode.rerank(dialect.reranker(mode, Replay(dialect.exchanges)), QUERY, DOCUMENTS)
        assert (response.meta.billed_units, response.meta.tokens) == (None, None)
        return
    rows = dialect.answer()
    body = {**rows, **usage["answered"]} if "answered" in usage else rows
    replay = answering(body, headers=usage.get("headers"))
    response = mode.rerank(dialect.reranker(mode, replay), QUERY, DOCUMENTS)
    assert response.meta == usage["meta"]


@each_http_provider
@pytest.mark.parametrize("malformed", [None, {}, [], "12", -1, "NaN"])
def test_malformed_usage_is_absent(name: str, malformed: Any, mode: Mode) -> None:
    dialect = Dialect(name)
    usage = dialect.recorded["usage"]
    if usage is None or "answered" not in usage:
        pytest.skip("the body holds no usage")
    reported = usage["answered"]
    for answered in (dict.fromkeys(reported, malformed), _with_leaves(reported, malformed)):
        response, _ = dialect.rerank(mode, {**dialect.answer(), **answered})
        assert (response.meta.billed_units, response.meta.tokens) == (None, None)


def _with_leaves(tree: Mapping[str, Any], value: Any) -> dict[str, Any]:
    return {key: _with_leaves(below, value) if isinstance(below, dict) else value for key, below in tree.items()}
