"""The fields of both adapters: which are accepted, by which names, and which are refused."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import Any

import httpx
import pytest
from tests.support.frameworks import COHERE, Face, Wire

from anyrerank import BadRequestError, ConfigurationError, Reranker, langchain, llama_index
from anyrerank._adapters import RerankFields
from anyrerank.langchain.keywords import CompressorKeywords
from anyrerank.llama_index.keywords import PostprocessorKeywords
from anyrerank.providers import Provider, load, names
from anyrerank.providers.cohere import Cohere

ITEMS = ["c 0.3", "a 0.9", "b 0.5"]
RANKED = [("a 0.9", 0.9), ("b 0.5", 0.5), ("c 0.3", 0.3)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"top_n": 0},
        {"top_n": -1},
        {"batch_size": 0},
        {"max_retries": -1},
        {"max_concurrency": 0},
        {"timeout": 0},
        {"score_mode": "sigmoid"},
        {"on_error": "ignore"},
        {"fuse": "max"},
        {"top_k": 2},
        {"model": None},
        {"reranker": Reranker(COHERE)},
    ],
    ids=str,
)
def test_wrong_field_is_refused_at_construction(framework: Face, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="model" if None in wrong.values() else next(iter(wrong))):
        framework.kind(**{"model": COHERE, **wrong})


def test_option_unknown_to_the_provider_is_refused(framework: Face) -> None:
    with pytest.raises(BadRequestError, match="truncate"):
        framework.make(model=COHERE, truncate="END")


class _Mine(Cohere):
    prefix = "mine"
    title = "Mine"


@pytest.mark.parametrize("name", ["provider", "custom_llm_provider"])
def test_provider_can_be_a_class(face: Face, wire: Wire, name: str) -> None:
    kinds: dict[str, type[Provider]] = {name: _Mine}
    adapter = face.make(wire, model="m", api_base="http://127.0.0.1:1/v2", **kinds)
    assert face.ranked(adapter, ITEMS) == RANKED
    assert wire.body["model"] == "m"


@pytest.mark.parametrize(
    "wrong", [{"model": "nobody/model"}, {"model": "rerank-v3.5"}, {"model": COHERE, "http_client": "client"}], ids=str
)
def test_wrong_setting_is_refused_at_construction(framework: Face, wrong: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, BadRequestError)):
        framework.kind(**wrong)


def test_other_names_of_fields_are_accepted(face: Face, wire: Wire) -> None:
    face.rerank(face.make(wire, model="rerank-v3.5", custom_llm_provider="cohere", base_url="http://proxy/"), ITEMS)
    face.rerank(face.make(wire, model="rerank-v3.5", provider="cohere", api_base="http://proxy/"), ITEMS)
    assert {str(request.url) for request in wire.requests} == {"http://proxy/v2/rerank"}
    assert {body["model"] for body in wire.bodies} == {"rerank-v3.5"}


def test_options_and_settings_are_accepted_by_name(framework: Face) -> None:
    adapter = framework.kind(
        model="bedrock/cohere.rerank-v3-5:0",
        aws_region_name="us-west-2",
        aws_secret_access_key="s3cr3t-0123",
        aws_access_key_id="AKIA0123",
        additional_model_request_fields={"a": 1},
    )
    assert adapter.options == {"aws_region_name": "us-west-2", "additional_model_request_fields": {"a": 1}}
    assert adapter.credentials == {"aws_secret_access_key": "s3cr3t-0123", "aws_access_key_id": "AKIA0123"}
    assert "s3cr3t" not in f"{adapter!r} {adapter.model_dump()} {adapter.model_dump_json()}"
    with pytest.raises(BadRequestError, match="no option aws_region_name"):
        framework.kind(model="cohere/rerank-v3.5", aws_region_name="us-west-2")


@pytest.mark.parametrize("where", ["options", "credentials"])
def test_field_inside_options_is_refused(where: str, framework: Face) -> None:
    with pytest.raises(BadRequestError, match=f"{where} must not hold api_key") as caught:
        framework.kind(model="cohere/rerank-v3.5", **{where: {"api_key": "sk-s3cr3t"}})
    assert "s3cr3t" not in str(caught.value)


def test_options_can_hold_an_option_with_the_name_of_a_field(face: Face, wire: Wire) -> None:
    route = {"only": ["cohere"]}
    face.rerank(face.make(wire, model="openrouter/cohere/rerank-v3.5", options={"provider": route}), ITEMS)
    face.rerank(face.make(wire, options={"max_tokens_per_doc": 9}), ITEMS)
    assert (wire.bodies[0]["provider"], wire.bodies[1]["max_tokens_per_doc"]) == (route, 9)


@pytest.mark.parametrize(
    ("model", "wrong", "meant"),
    [(COHERE, "topn", "top_n"), ("bedrock/x", "aws_regoin_name", "aws_region_name"), (COHERE, "xyzzy", None)],
)
def test_unknown_field_is_refused_with_a_suggestion(framework: Face, model: str, wrong: str, meant: str | None) -> None:
    with pytest.raises(BadRequestError, match=f"no option {wrong}" + (f"; did you mean {meant}" if meant else "$")):
        framework.kind(model=model, **{wrong: 1})


def test_headers_under_two_names_are_merged(face: Face, wire: Wire) -> None:
    face.rerank(face.make(wire, headers={"x-a": "1"}, extra_headers={"x-b": "2"}), ITEMS)
    assert (wire.requests[0].headers["x-a"], wire.requests[0].headers["x-b"]) == ("1", "2")


def test_two_names_with_different_values_are_refused(framework: Face) -> None:
    with pytest.raises(BadRequestError, match="api_base and base_url"):
        framework.make(api_base="http://a", base_url="http://b")
    with pytest.raises(BadRequestError, match="provider and custom_llm_provider"):
        framework.make(provider="cohere", custom_llm_provider="voyage")


def test_httpx_timeout_is_accepted(framework: Face) -> None:
    assert framework.make(timeout=httpx.Timeout(30)).timeout == 30
    assert framework.make(timeout="7.5").timeout == 7.5


@pytest.mark.parametrize(
    ("kind", "keywords"),
    [(langchain.AnyRerank, CompressorKeywords), (llama_index.AnyRerank, PostprocessorKeywords)],
    ids=["langchain", "llama_index"],
)
def test_keywords_are_the_names_accepted_at_run_time(kind: type[RerankFields], keywords: type[Any]) -> None:
    providers = [load(name) for name in names()]
    accepted = {*kind.model_fields, "base_url", "custom_llm_provider", "extra_headers", "num_retries"}
    accepted |= {name for provider in providers for name in (*provider.options, *provider.settings)}
    assert keywords.__optional_keys__ == accepted


def test_json_schema_has_the_fields_that_json_can_hold(framework: Face) -> None:
    properties = framework.kind.model_json_schema()["properties"]
    assert properties.keys() >= {"model", "top_n", "rank_fields", "fallbacks", "metadata", "timeout"}
    assert not properties.keys() & {"reranker", "cache", "hooks", "guardrails", "budget", "limit", "text_fn"}
    assert properties["fallbacks"] == {**properties["fallbacks"], "type": "array", "items": {"type": "string"}}


def test_help_describes_every_field(framework: Face) -> None:
    listed = (framework.kind.__doc__ or "").partition("Attributes:\n")[2]
    described = dict(re.findall(r"^ {4}(\w+): (.+)$", listed, re.MULTILINE))
    assert described.keys() == framework.kind.model_fields.keys()
    assert list(inspect.signature(framework.kind).parameters) == list(described)
    assert next(iter(described)) == "model"


def test_subclass_can_set_the_model(framework: Face) -> None:
    made = type("Mine", (framework.kind,), {"__annotations__": {"model": str}, "model": "cohere/rerank-v3.5"})
    assert made(max_tokens_per_doc=5).max_tokens_per_doc == 5
    assert made(num_retries=7).max_retries == 7
    with pytest.raises(BadRequestError, match="options"):
        made(options=[1], max_tokens_per_doc=5)


def test_wrong_field_is_a_value_error_too(face: Face) -> None:
    with pytest.raises(ValueError, match="did you mean top_n") as caught:
        face.make(topn=3)
    assert isinstance(caught.value, BadRequestError)
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)  # noqa: S301


def test_unknown_attribute_is_refused(face: Face) -> None:
    adapter = face.make()
    with pytest.raises(BadRequestError, match="did you mean top_n"):
        adapter.topn = 3
    adapter.top_n = 2
    assert adapter.top_n == 2
