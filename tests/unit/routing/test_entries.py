"""What a `model_list` in LiteLLM's form may say, and the one error for what it may not."""

from __future__ import annotations

import copy
import logging
import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from tests.support.harness import KEY, leaks

from anyrerank import BadRequestError, Budget, ConfigurationError, RerankError, Router
from anyrerank._core.pricing import Price
from anyrerank._core.routing import chains
from anyrerank._core.routing.decisions import Terms
from anyrerank._core.routing.entries import _chain

COHERE = "cohere/rerank-v3.5"


def entry(name: Any = "r", **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": COHERE, "api_key": KEY, **params}}


def refused(*entries: Any, kind: type[RerankError] = ConfigurationError, **options: Any) -> str:
    """The message of what cannot be a router."""
    with pytest.raises(RerankError) as caught:
        Router(entries or [entry()], **options)
    assert type(caught.value) is kind
    assert not leaks(caught.value, [KEY])
    return caught.value.message


# Entries.


def test_litellms_form() -> None:
    router = Router(
        [
            {
                "model_name": "r",
                "litellm_params": {
                    "model": "rerank-v3.5",
                    "custom_llm_provider": "cohere",
                    "api_key": KEY,
                    "weight": 2,
                    "rpm": 10,
                    "tpm": 1000,
                    "order": 1,
                    "timeout": 30,
                    "max_budget": 5.0,
                    "budget_duration": "1d",
                    "input_cost_per_query": 0.1,
                },
                "model_info": {"id": 17, "mode": "rerank", "base_model": "x"},
            },
            {"model_name": "r", "litellm_params": {"model": "bedrock/m", "aws_region_name": "us-east-1", "rpm": None}},
        ]
    )
    first, second = router._groups["r"]
    assert (first.deployment.name, first.deployment.model_id) == (COHERE, "17")
    assert first.terms == Terms(weight=2, rpm=10, tpm=1000, order=1, timeout=30)
    assert repr(first.budget) == "Budget(5, '1d')"
    assert first.deployment.price() is not None
    assert (second.deployment.model_id, second.terms, second.budget) == ("r-2", Terms(), None)


def test_the_environment_may_hold_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    entry_with = {"model_name": "r", "litellm_params": {"model": COHERE, "api_key": "os.environ/MY_KEY"}}
    (only,) = Router([entry_with])._groups["r"]
    assert only.deployment.connected().connection.api_key == KEY


def test_the_environment_may_hold_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"MY_WEIGHT": "0.5", "MY_RPM": "100", "MY_DOLLARS": "5", "MY_PRICE": "0.25", "MY_TEAM": "7"}
    for name, text in held.items():
        monkeypatch.setenv(name, text)
    params = {"weight": "os.environ/MY_WEIGHT", "rpm": "os.environ/MY_RPM", "max_budget": "os.environ/MY_DOLLARS"}
    given = entry(**params, headers={"x-team": "os.environ/MY_TEAM"})
    (only,) = Router([{**given, "model_info": {"input_cost_per_query": "os.environ/MY_PRICE"}}])._groups["r"]
    assert only.terms == Terms(weight=0.5, rpm=100)
    assert type(only.terms.rpm) is int
    assert (repr(only.budget), only.deployment.price()) == ("Budget(5, None)", Price(per_query=0.25))
    assert only.deployment.connected().connection.headers == {"x-team": "7"}


@pytest.mark.parametrize("text", ["many", "nan", "0", "1e999"])
def test_what_the_environment_holds_may_be_no_such_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MY_RPM", text)
    assert refused(entry(rpm="os.environ/MY_RPM")) == "model_list[0] (r): rpm is a number above 0"


def test_a_variable_that_is_not_set_is_named() -> None:
    message = refused({"model_name": "r", "litellm_params": {"model": COHERE, "api_key": "os.environ/NOT_SET"}})
    assert message == "model_list[0]: the environment variable NOT_SET is not set"


def test_what_means_nothing_here_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    Router([entry(num_retries=3, max_parallel_requests=5, rpm=1)])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "model_list[0] (r): max_parallel_requests, num_retries in litellm_params means nothing here"
    )


WRONG: dict[str, tuple[Any, str]] = {
    "no mapping": ("r", "model_list[0] is not a mapping with a model_name and litellm_params"),
    "none": (None, "model_list[0] is not a mapping with a model_name and litellm_params"),
    "no name": ({"litellm_params": {}}, "model_list[0] is not a mapping with a model_name and litellm_params"),
    "a number for a name": (entry(5), "model_list[0] is not a mapping with a model_name and litellm_params"),
    "a blank name": (entry(""), "model_list[0] is not a mapping with a model_name and litellm_params"),
    "no params": ({"model_name": "r"}, "model_list[0] is not a mapping with a model_name and litellm_params"),
    "info no mapping": (
        {**entry(), "model_info": [1]},
        "model_list[0] is not a mapping with a model_name and litellm_params",
    ),
    "no model": ({"model_name": "r", "litellm_params": {}}, "model_list[0] (r): model is a string like"),
    "a number for a model": (entry(model=5), "model_list[0] (r): model is a string like"),
    "no provider": (entry(model="rerank-v3.5"), "model_list[0] (r): model 'rerank-v3.5' names no provider"),
    "an unknown provider": (entry(model="coherre/x"), "did you mean cohere"),
    "an unknown parameter": (entry(wieght=3), "model_list[0] (r): litellm_params has no wieght; did you mean weight?"),
    "a parameter that is no text": ({"model_name": "r", "litellm_params": {"model": COHERE, 5: 1}}, "has no 5"),
    "several unknown": (entry(rmp=3, zzz=1), "litellm_params has no rmp, zzz; did you mean rpm?"),
    "a negative weight": (entry(weight=-1), "model_list[0] (r): weight is a number of at least 0"),
    "rpm of 0": (entry(rpm=0), "model_list[0] (r): rpm is a number above 0"),
    "tpm as text": (entry(tpm="100"), "model_list[0] (r): tpm is a number above 0"),
    "timeout of infinity": (entry(timeout=math.inf), "model_list[0] (r): timeout is a number above 0"),
    "weight that is none": (entry(weight=math.nan), "model_list[0] (r): weight is a number of at least 0"),
    "order of true": (entry(order=True), "model_list[0] (r): order is a number above 0"),
    "a key that is no text": (entry(api_key=12345), "model_list[0] (r): api_key is a string"),
    "a base that is no text": (entry(api_base=8000), "model_list[0] (r): api_base is a string"),
    "headers that are a list": (entry(headers=["x"]), "model_list[0] (r): headers is a mapping"),
    "more headers that are a text": (entry(extra_headers="x"), "model_list[0] (r): extra_headers is a mapping"),
    "a body that is a list": (entry(extra_body=[1]), "model_list[0] (r): extra_body is a mapping"),
    "a negative price": (entry(input_cost_per_query=-1), "model_list[0] (r): input_cost_per_query is a number"),
    "a price as text": (
        {**entry(), "model_info": {"input_cost_per_token": "free"}},
        "model_list[0] (r): input_cost_per_token is a number",
    ),
    "a budget of 0": (entry(max_budget=0), "model_list[0] (r): a budget is a number of US dollars above 0"),
    "a budget that is a number": (entry(budget=5), "model_list[0] (r): budget is a Budget"),
    "a duration without a budget": (entry(budget_duration="1d"), "model_list[0] (r): budget_duration says how long"),
    "a header that is a number": (entry(headers={"x": 5}), "model_list[0] (r): headers maps names to strings"),
    "a header named by a number": (entry(extra_headers={5: "x"}), "model_list[0] (r): headers maps names to strings"),
    "a base that is no address": (
        entry(api_base="http://[bad"),
        "model_list[0] (r): api_base is not an http(s) address",
    ),
    "a base without a scheme": (entry(api_base="host:8000"), "model_list[0] (r): api_base is not an http(s) address"),
    "a variable that can have no name": (entry(user="os.environ/\ud800"), "no environment variable '\\ud800'"),
    "a wrong duration": (
        entry(max_budget=1, budget_duration="1y"),
        "model_list[0] (r): a budget's window is a number of seconds above 0",
    ),
}


@pytest.mark.parametrize(("given", "message"), list(WRONG.values()), ids=list(WRONG))
def test_an_entry_that_no_deployment_can_be(given: Any, message: str) -> None:
    assert message in refused(given)


def test_a_weight_may_be_0() -> None:
    assert [each.terms.weight for each in Router([entry(weight=0), entry()])._groups["r"]] == [0, None]


def test_the_entry_is_named() -> None:
    assert refused(entry(), entry("x"), entry("y", weight=-1)).startswith("model_list[2] (y): weight")


@pytest.mark.parametrize("given", [[], None, {}, "r", {"model_name": "r"}])
def test_no_list_of_deployments(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="model_list is a list of at least one deployment"):
        Router(given)


def test_an_id_is_one_deployments() -> None:
    twice = [{**entry(), "model_info": {"id": 1}}, {**entry("x"), "model_info": {"id": "1"}}]
    assert refused(*twice) == "model_list[1] (x): the id 1 is taken"


def test_a_copy_of_an_entry_shares_nothing_with_it() -> None:
    (first,) = Router([entry(budget=Budget(1.0))])._groups["r"]
    first.load.in_flight = 5
    for other in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):  # noqa: S301
        assert (other.terms, repr(other.deployment)) == (first.terms, repr(first.deployment))
        assert other.load.in_flight == 0
        assert other.deployment is not first.deployment
        assert other.budget is not first.budget


# What a router is told besides.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"routing_strategy": "simple-shufle"}, "routing_strategy: there is no 'simple-shufle'; did you mean simple-"),
        ({"routing_strategy": None}, "routing_strategy is one of simple-shuffle, least-busy"),
        ({"routing_strategy": 5}, "routing_strategy is one of simple-shuffle, least-busy"),
        ({"routing_strategy_args": ["ttl"]}, "routing_strategy_args is a mapping"),
        ({"model_group_alias": ["r"]}, "model_group_alias is a mapping"),
        ({"routing_strategy_args": {"ttl": -1}}, "ttl is a number of at least 0"),
        ({"routing_strategy_args": {"lowest_latency_buffer": "much"}}, "lowest_latency_buffer is a number of at"),
        ({"retry_after": -1}, "retry_after is a number of at least 0"),
        ({"allowed_fails": None}, "allowed_fails is a number of at least 0"),
        ({"cooldown_time": math.nan}, "cooldown_time is a number of at least 0"),
        ({"max_fallbacks": True}, "max_fallbacks is a number of at least 0"),
        ({"model_group_alias": {"a": "nobody"}}, "model_group_alias of a: there is no 'nobody'; there are r"),
        ({"model_group_alias": {"a": {"model": "r"}}}, "model_group_alias of a is one of r"),
    ],
    ids=str,
)
def test_a_setting_that_it_cannot_have(options: dict[str, Any], message: str) -> None:
    assert message in refused(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_retries": -1}, "num_retries is an integer of at least 0"),
        ({"timeout": 0}, "timeout is a number of seconds above 0"),
        ({"api_key": KEY}, "api_key: said in the litellm_params of a deployment, not of a router"),
        ({"nonsense": 1}, "cohere has no option nonsense"),
        ({"cache": 5}, "cache is a Cache"),
    ],
    ids=str,
)
def test_an_option_that_it_cannot_have(options: dict[str, Any], message: str) -> None:
    assert message in refused(kind=BadRequestError, **options)


# Fallbacks.


@pytest.mark.parametrize(
    ("fallbacks", "default", "expected"),
    [
        ((), (), {"a": (), "b": (), "c": ()}),
        ({"a": ["b", "c"]}, (), {"a": ("b", "c"), "b": (), "c": ()}),
        ([{"a": ["b"]}, {"b": ["c"]}], (), {"a": ("b", "c"), "b": ("c",), "c": ()}),
        ({"a": ["b", "c"], "b": ["c"]}, (), {"a": ("b", "c"), "b": ("c",), "c": ()}),
        ({"a": ["b"]}, ["c"], {"a": ("b",), "b": ("c",), "c": ()}),
        ({}, ["c", "a"], {"a": ("c",), "b": ("c", "a"), "c": ("a",)}),
        ({"*": ["c", "a"]}, (), {"a": ("c",), "b": ("c", "a"), "c": ("a",)}),
        ({"a": ["z"], "z": ["b"]}, (), {"a": ("c", "b"), "b": (), "c": ("b",)}),
    ],
    ids=str,
)
def test_chains_of_names(fallbacks: Any, default: Any, expected: Mapping[str, Any]) -> None:
    assert chains("abc", fallbacks, default, 5, {"z": "c"}) == expected
    shortened = {name: chain[:1] for name, chain in expected.items()}
    assert chains("abc", fallbacks, default, 1, {"z": "c"}) == shortened


class Looked(list[str]):
    """Fallbacks that count how often they are gone through."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return super().__iter__()


def test_a_name_that_many_fall_back_to_is_followed_once() -> None:
    names = [f"m{number}" for number in range(24)]
    own: dict[str, Sequence[str]] = {name: Looked(names[place + 1 :]) for place, name in enumerate(names)}
    assert _chain("m0", own, ()) == tuple(names[1:])
    assert [each.times for each in own.values() if isinstance(each, Looked)] == [1] * 24


def test_a_chain_may_be_longer_than_python_calls_are_deep() -> None:
    names = [str(number) for number in range(3000)]
    own = {name: [after] for name, after in pairwise(names)}
    assert _chain("0", own, ()) == tuple(names[1:])


@pytest.mark.parametrize(
    ("fallbacks", "message"),
    [
        ({"a": ["a"]}, "fallbacks go in a circle: a -> a"),
        ([{"a": ["b"]}, {"b": ["c"]}, {"c": ["a"]}], "fallbacks go in a circle: a -> b -> c -> a"),
        ({"a": ["z"]}, "fallbacks: no deployment has the name z; there are a, b, c"),
        ({"z": ["a"]}, "fallbacks: no deployment has the name z; there are a, b, c"),
        ({"a": "b"}, "fallbacks is a list of mappings from a name to a list of names"),
        ([("a", "b")], "fallbacks is a list of mappings from a name to a list of names"),
        (["a"], "fallbacks is a list of mappings from a name to a list of names"),
        ("a", "fallbacks is a list of mappings from a name to a list of names"),
        (5, "fallbacks is a list of mappings from a name to a list of names"),
        ({"a": [{"model": "b", "api_key": KEY}]}, "fallbacks is a list of mappings from a name to a list of names"),
    ],
    ids=str,
)
def test_fallbacks_that_cannot_be(fallbacks: Any, message: str) -> None:
    assert refused(*map(entry, "abc"), fallbacks=fallbacks) == message


@pytest.mark.parametrize(
    ("default", "message"),
    [
        (["z"], "default_fallbacks: no deployment has the name z; there are r"),
        ("r", "default_fallbacks is a list of names"),
        ([5], "default_fallbacks is a list of names"),
    ],
    ids=str,
)
def test_default_fallbacks_that_cannot_be(default: Any, message: str) -> None:
    assert refused(default_fallbacks=default) == message


@pytest.mark.parametrize("make", [dict, lambda **given: [given]])
def test_nothing_is_no_fallback(make: Callable[..., Any]) -> None:
    router = Router([entry()], fallbacks=None, default_fallbacks=None, model_group_alias=None)
    assert router._chains == Router([entry()], fallbacks=make(r=[]))._chains == {"r": ()}
