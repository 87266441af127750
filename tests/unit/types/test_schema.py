"""Responses: their fields, dumps and schema, and access as in LiteLLM."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.types.examples import ROWS, response, some_ranking, some_results

from anyrerank._core.types import (
    BilledUnits,
    Meta,
    Ranking,
    RerankRequest,
    RerankResponse,
    RerankResult,
    Results,
    Tokens,
)


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


def test_usage_is_a_dict_of_what_is_known() -> None:
    meta = Meta(billed_units=BilledUnits(search_units=1), tokens=None, warnings=["slow"])
    plain = {"billed_units": {"search_units": 1}, "warnings": ["slow"]}
    assert (meta, dict(meta), json.loads(json.dumps(meta))) == (plain, plain, plain)
    assert (meta.tokens, meta["tokens"], meta.estimated) == (None, None, False)
    assert meta.billed_units is not None
    assert (meta.billed_units.search_units, meta.billed_units.total_tokens) == (1, None)
    with pytest.raises(KeyError):
        meta["token"]


def test_unpaired_surrogates_are_replaced_in_json() -> None:
    answer = response(results=Ranking([0], [0.5], ["let \ud835 be"]))
    assert json.loads(answer.model_dump_json())["results"][0]["document"] == {"text": "let \ufffd be"}
    assert answer.results[0].document == {"text": "let \ud835 be"}


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
