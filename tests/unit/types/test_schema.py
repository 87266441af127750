import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from anyrerank._core.types import (
    Attempt,
    BilledUnits,
    Document,
    Meta,
    Ranking,
    RerankRequest,
    RerankResponse,
    RerankResult,
    Results,
    Tokens,
)

DOCUMENTS: list[Document] = ["alpha", {"text": "beta", "page": 3}, ""]
ROWS = [
    RerankResult(index=2, relevance_score=0.75, document={"text": "alpha"}),
    RerankResult(index=0, relevance_score=0.25, document={"text": "beta", "page": 3}),
    RerankResult(index=1, relevance_score=None, document={"text": ""}),
]


def some_ranking() -> Ranking:
    return Ranking([2, 0, 1], [0.75, 0.25, None], DOCUMENTS)


def some_results() -> Results:
    return Results(some_ranking())


def response(**given: Any) -> RerankResponse:
    return RerankResponse(
        **{
            "id": "rerank-1",
            "results": some_ranking(),
            "meta": Meta(
                api_version={"version": "2"},
                billed_units=BilledUnits(search_units=1),
                tokens=Tokens(input_tokens=12, output_tokens=0),
                warnings=("old model",),
            ),
            "model": "rerank-v3.5",
            "provider": "cohere",
            "cost": 0.002,
            "latency": 0.125,
            "attempts": (Attempt(deployment="cohere/rerank-v3.5", status=200, seconds=0.1),),
            "request_id": "req-1",
            **given,
        }
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


@pytest.mark.parametrize(
    "again",
    [lambda value: pickle.loads(pickle.dumps(value)), copy.copy, copy.deepcopy],  # noqa: S301
    ids=["pickle", "copy", "deepcopy"],
)
def test_copy_is_equal(again: Callable[[Any], Any]) -> None:
    for value in (some_results(), some_ranking(), Results(), ROWS[0], response(), response().meta, response().attempts):
        copied = again(value)
        assert copied == value
        assert type(copied) is type(value)


def test_response_is_dumped_as_plain_values() -> None:
    dumped = response().model_dump()
    assert list(dumped["results"]) == [
        {"index": 2, "relevance_score": 0.75, "document": {"text": "alpha"}},
        {"index": 0, "relevance_score": 0.25, "document": {"text": "beta", "page": 3}},
        {"index": 1, "relevance_score": None, "document": {"text": ""}},
    ]
    assert (dumped["model"], dumped["cost"], dumped["degraded"]) == ("rerank-v3.5", 0.002, False)
    assert json.loads(response().model_dump_json())["results"][0] == dumped["results"][0]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"results": Results()},
        {"results": Ranking([1], [0.5])},
        {"meta": Meta(), "attempts": ()},
        {"degraded": True},
    ],
    ids=["full", "empty", "without documents", "without usage", "degraded"],
)
def test_dump_can_be_validated_again(given: dict[str, Any]) -> None:
    original = response(**given)
    for copied in (
        RerankResponse.model_validate(original.model_dump()),
        RerankResponse.model_validate(original.model_dump(mode="json")),
        RerankResponse.model_validate_json(original.model_dump_json()),
        original.model_copy(),
    ):
        assert copied == original
        assert type(copied.results) is Results


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


def test_response_has_a_json_schema() -> None:
    for mode in ("validation", "serialization"):
        schema = RerankResponse.model_json_schema(mode=mode)
        assert schema["properties"]["results"]["type"] == "array"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (response(), "model"),
        (response(), "results"),
        (response().meta, "estimated"),
        (response().attempts[0], "status"),
        (ROWS[0], "index"),
        (RerankRequest(query="q", documents=["a"]), "query"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_values_are_frozen(value: Any, name: str) -> None:
    with pytest.raises((ValidationError, dataclasses.FrozenInstanceError, AttributeError)):
        setattr(value, name, None)


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


def test_response_can_be_made_of_what_litellm_needs() -> None:
    made = RerankResponse(
        id="r",
        results=[{"index": 0, "relevance_score": 0.5}],
        meta={"billed_units": {"search_units": 1}, "warnings": None},
    )
    assert (made.results[0].index, made.results[0].document, made.meta.warnings) == (0, None, ())
    assert made.meta["billed_units"]["search_units"] == 1
    assert (RerankResponse(id="r", results=None, meta=None).results, RerankResponse(id="r").meta) == ([], Meta())


def test_cost_is_where_litellm_has_it() -> None:
    assert response()._hidden_params["response_cost"] == 0.002
    assert response(cost=None)._hidden_params.get("response_cost") is None


def test_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        response(mode="red")


def test_fields_can_be_read_by_key() -> None:
    answer = response()
    assert answer["results"] is answer.results
    assert (answer["id"], answer["meta"]) == (answer.id, answer.meta)
    first = answer["results"][0]
    assert (first["index"], first["relevance_score"], first["document"]) == (2, 0.75, {"text": "alpha"})


def test_response_and_results_are_like_mappings() -> None:
    answer = response(request_id=None)
    assert "results" in answer
    assert "no_such_field" not in answer
    assert "request_id" not in answer
    assert answer.get("results") is answer.results
    assert (answer.get("request_id"), answer.get("request_id", "none"), answer.get("no_such_field", 1)) == (
        None,
        "none",
        1,
    )
    assert dict(answer)["model"] == answer.model
    first = answer.results[0]
    assert {**first} == {"index": 2, "relevance_score": 0.75, "document": {"text": "alpha"}}
    assert first.get("document", {}).get("text") == "alpha"
    bare = RerankResult(index=0, relevance_score=0.5)
    assert ("document" in bare, bare.get("document", "none"), bare["document"]) == (False, "none", None)
    assert {**bare} == {"index": 0, "relevance_score": 0.5}
    assert dict(answer).keys() == type(answer).model_fields.keys()


def test_usage_can_be_read_by_key() -> None:
    meta = Meta(billed_units=BilledUnits(search_units=2))
    assert meta["billed_units"]["search_units"] == 2
    assert (meta.get("tokens"), "tokens" in meta) == (None, False)


def test_document_can_be_any_mapping_in_a_dump() -> None:
    document = MappingProxyType({"text": "alpha", "page": 3})
    answer = response(results=Ranking([0], [0.5], [document]))
    assert answer.model_dump(mode="json")["results"][0]["document"] == {"text": "alpha", "page": 3}
    assert answer.results[0].document is document


@pytest.mark.parametrize("name", ["no_such_field", "model_dump", "__class__", "_repr_html_"])
def test_unknown_key_is_a_key_error(name: str) -> None:
    with pytest.raises(KeyError):
        response()[name]
    with pytest.raises(KeyError):
        ROWS[0][name]


def test_to_cohere_gives_the_format_of_cohere() -> None:
    assert response(meta=Meta(api_version={"version": "2"}, billed_units=BilledUnits(search_units=1))).to_cohere() == {
        "id": "rerank-1",
        "results": [
            {"index": 2, "relevance_score": 0.75, "document": {"text": "alpha"}},
            {"index": 0, "relevance_score": 0.25, "document": {"text": "beta", "page": 3}},
            {"index": 1, "relevance_score": None, "document": {"text": ""}},
        ],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }


def test_to_cohere_leaves_out_missing_values() -> None:
    assert response(results=Ranking([0], [0.5]), meta=Meta(estimated=True)).to_cohere() == {
        "id": "rerank-1",
        "results": [{"index": 0, "relevance_score": 0.5}],
    }


def test_to_cohere_keeps_zero() -> None:
    meta = Meta(billed_units=BilledUnits(search_units=0), tokens=Tokens(output_tokens=0))
    assert response(meta=meta).to_cohere()["meta"] == {
        "billed_units": {"search_units": 0},
        "tokens": {"output_tokens": 0},
    }


def test_to_cohere_can_be_dumped_as_json() -> None:
    answer = response().to_cohere()
    assert json.loads(json.dumps(answer)) == answer


def test_to_cohere_returns_a_copy() -> None:
    document = {"text": "a"}
    answer = response(results=Ranking([0], [0.5], [document])).to_cohere()
    answer["results"][0]["document"]["text"] = "changed"
    assert document == {"text": "a"}


@pytest.mark.parametrize(
    "value",
    [
        response(),
        response().results,
        response().results[0],
        response().ranking,
        RerankRequest(query="alpha", documents=["beta"], extra_body={"raw": "beta"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_repr_shows_no_text(value: object) -> None:
    assert "alpha" not in repr(value)
    assert "beta" not in repr(value)


def test_repr_shows_indexes_and_scores() -> None:
    assert repr(some_results()) == repr(some_ranking()) == "Results(2: 0.75, 0: 0.25, 1: None)"
    assert repr(Ranking(range(12), [0.5] * 12)).endswith("9: 0.5, and 2 more)")
    assert repr(some_results()[0]) == "RerankResult(index=2, relevance_score=0.75)"
    assert "provider='cohere'" in repr(response())
    assert "Results(2: 0.75, " in repr(response())


def test_str_is_the_table() -> None:
    shown = str(response())
    assert len(shown.splitlines()) == 5
    for part in ("cohere/rerank-v3.5", "0.7500", "alpha", "beta", "none"):
        assert part in shown
    assert f"{response()}" == shown


def test_notebook_shows_the_table() -> None:
    assert response()._repr_html_().count("<tr>") == 4


@pytest.mark.parametrize("given", [{}, {"id": None, "results": None, "meta": None}, {"results": []}])
def test_response_needs_no_field(given: dict[str, Any]) -> None:
    response = RerankResponse(**given)
    assert response.id.startswith("rerank-")
    assert len(response.results) == 0


def test_response_may_be_made_of_coheres_json() -> None:
    units = {"search_units": 1, "images": 0, "input_tokens": 7}
    row = {"index": 0, "relevance_score": 0.5}
    response = RerankResponse(id="a", results=[row], meta={"billed_units": units, "cached_tokens": 3})
    assert response.meta.billed_units == BilledUnits(search_units=1)
    assert response.results == [row]
