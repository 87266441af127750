"""What a `model_list` in LiteLLM's form may hold, and the one error for what it may not."""

from __future__ import annotations

import copy
import logging
import math
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import SecretStr
from tests.support.harness import KEY, leaks

from anyrerank import BadRequestError, Budget, ConfigurationError, RerankError, Router
from anyrerank._core.engine import Options
from anyrerank._core.http import Transport
from anyrerank._core.pricing import Price
from anyrerank._core.routing import Entry, groups_of
from anyrerank._core.routing.load import Terms

COHERE = "cohere/rerank-v3.5"


def entry(name: Any = "r", **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": COHERE, "api_key": KEY, **params}}


def read(*model_list: Any) -> Sequence[Entry]:
    """The deployments of the only name."""
    (group,) = groups_of(model_list, {}, Transport())
    return group.entries


def refused(*entries: Any, kind: type[RerankError] = ConfigurationError, **options: Any) -> str:
    """The message of what cannot be a router."""
    with pytest.raises(RerankError) as caught:
        Router(entries or [entry()], **options)
    assert type(caught.value) is kind
    assert not leaks(caught.value, [KEY])
    return caught.value.message


# Entries.


def test_an_entry_in_litellms_form_describes_a_deployment() -> None:
    first, second = read(
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
    )
    assert (first.deployment.name, first.deployment.model_id, first.id) == (COHERE, "17", "17")
    assert first.terms == Terms(weight=2, rpm=10, tpm=1000, order=1, timeout=30)
    assert repr(first.deployment.budget) == "Budget(5, '1d')"
    assert first.deployment.price() == Price(per_query=0.1)
    assert (second.deployment.model_id, second.terms, second.deployment.budget) == ("r-2", Terms(), None)


def test_an_entry_may_cut_documents_at_a_provider_that_does_not() -> None:
    (found,) = read(entry(model="huggingface/m", max_tokens_per_doc=5))
    assert found.deployment.provider_options(Options()) == {"max_tokens_per_doc": 5}


def test_names_of_connection_options_may_be_openais() -> None:
    (only,) = read(entry(base_url="http://own.test", headers={"x-a": "1"}, extra_headers={"x-b": "2"}))
    connection = only.deployment.connected().connection
    assert (connection.api_base, connection.headers) == ("http://own.test", {"x-a": "1", "x-b": "2"})


def test_a_key_may_be_a_secret_string() -> None:
    (only,) = read(entry(api_key=SecretStr(KEY)))
    assert only.deployment.connected().connection.api_key == KEY


def test_a_reference_takes_a_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    (only,) = read(entry(api_key="os.environ/MY_KEY"))
    assert only.deployment.connected().connection.api_key == KEY


def test_a_reference_takes_numbers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"MY_WEIGHT": "0.5", "MY_RPM": "100", "MY_DOLLARS": "5", "MY_PRICE": "0.25", "MY_TEAM": "7"}
    for name, text in held.items():
        monkeypatch.setenv(name, text)
    params = {"weight": "os.environ/MY_WEIGHT", "rpm": "os.environ/MY_RPM", "max_budget": "os.environ/MY_DOLLARS"}
    given = entry(**params, headers={"x-team": "os.environ/MY_TEAM"})
    (only,) = read({**given, "model_info": {"input_cost_per_query": "os.environ/MY_PRICE"}})
    assert only.terms == Terms(weight=0.5, rpm=100)
    assert type(only.terms.rpm) is int
    assert (repr(only.deployment.budget), only.deployment.price()) == ("Budget(5, None)", Price(per_query=0.25))
    assert only.deployment.connected().connection.headers == {"x-team": "7"}


def test_numbers_may_be_strings_as_quotes_and_yaml_write_them() -> None:
    numbers = {"rpm": "100", "weight": "0.5", "timeout": "30", "max_budget": "5", "max_parallel_requests": "4"}
    (only,) = read({**entry(**numbers), "model_info": {"input_cost_per_token": "1e-6"}})
    assert only.terms == Terms(weight=0.5, rpm=100, timeout=30)
    assert (repr(only.deployment.budget), only.deployment.price()) == ("Budget(5, None)", Price(per_token=1e-6))
    assert only.deployment.slots is not None


@pytest.mark.parametrize("text", ["many", "nan", "0", "1e999"])
def test_a_reference_to_a_variable_that_is_not_a_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MY_RPM", text)
    assert refused(entry(rpm="os.environ/MY_RPM")).startswith("model_list[0] (r): rpm must be a positive number")


def test_a_reference_to_a_variable_that_is_not_set_is_refused() -> None:
    message = refused(entry(api_key="os.environ/NOT_SET"))
    assert message == "model_list[0] (r): the environment variable NOT_SET is not set, or is empty"


def test_ignored_parameters_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    Router([entry(num_retries=3, stream_timeout=5, top_n=3, rpm=1)])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "model_list[0] (r)" in record.getMessage()
    assert "num_retries, stream_timeout, top_n" in record.getMessage()


FORM = "model_list[0] must be a mapping with a model_name and litellm_params"
WRONG: dict[str, tuple[Any, str]] = {
    "no mapping": ("r", FORM),
    "none": (None, FORM),
    "no name": ({"litellm_params": {}}, FORM),
    "a number for a name": (entry(5), FORM),
    "a blank name": (entry(""), FORM),
    "no params": ({"model_name": "r"}, "model_list[0] (r): it has no litellm_params"),
    "a reranker without params": ({"model_name": "r", "model_info": {"mode": "rerank"}}, FORM),
    "params no mapping": ({"model_name": "r", "litellm_params": COHERE}, FORM),
    "a wildcard under a plain name": (
        {**entry(model="cohere/*"), "model_info": {"mode": "rerank"}},
        "model_list[0] (r): model is a wildcard, so model_name must be one too",
    ),
    "info no mapping": ({**entry(), "model_info": [1]}, FORM),
    "no model": ({"model_name": "r", "litellm_params": {}}, "model_list[0] (r): model "),
    "a number for a model": (entry(model=5), "model_list[0] (r): model "),
    "no provider": (entry(model="some-model"), "model_list[0] (r): its model names no provider"),
    "an unknown provider": (entry(model="coherre/x"), "did you mean cohere"),
    "an unknown parameter": (entry(wieght=3), "model_list[0] (r): litellm_params has no wieght; did you mean weight?"),
    "a parameter that is no string": ({"model_name": "r", "litellm_params": {"model": COHERE, 5: 1}}, "has no 5"),
    "an option of a call": (
        entry(score_threshold=0.5),
        "litellm_params has no score_threshold; it is an option of the whole Router, and of a call",
    ),
    "several unknown": (entry(rmp=3, zzz=1), "litellm_params has no rmp, zzz; did you mean rpm?"),
    "a negative weight": (entry(weight=-1), "model_list[0] (r): weight must be a number of at least 0, got -1"),
    "rpm of 0": (entry(rpm=0), "model_list[0] (r): rpm must be a positive number, got 0"),
    "tpm as a word": (entry(tpm="many"), "model_list[0] (r): tpm must be a positive number, got a value of type str"),
    "timeout of infinity": (entry(timeout=math.inf), "model_list[0] (r): timeout must be a positive number"),
    "weight of NaN": (entry(weight=math.nan), "model_list[0] (r): weight must be a number of at least 0"),
    "order of true": (entry(order=True), "model_list[0] (r): order must be a positive number"),
    "a key that is a number": (entry(api_key=12345), "model_list[0] (r): api_key must be"),
    "a base that is a number": (entry(api_base=8000), "model_list[0] (r): api_base must be"),
    "headers that are a list": (entry(headers=["x"]), "model_list[0] (r): headers must be"),
    "more headers that are a string": (entry(extra_headers="x"), "model_list[0] (r): headers must be"),
    "a body that is a list": (entry(extra_body=[1]), "model_list[0] (r): extra_body must be"),
    "a negative price": (entry(input_cost_per_query=-1), "model_list[0] (r): input_cost_per_query must be"),
    "a price as a string": (
        {**entry(), "model_info": {"input_cost_per_token": "free"}},
        "model_list[0] (r): input_cost_per_token must be",
    ),
    "a budget below 0": (entry(max_budget=-1), "model_list[0] (r): a budget must be a number of US dollars"),
    "a budget that is a number": (entry(budget=5), "model_list[0] (r): budget must be a Budget"),
    "a duration without a budget": (entry(budget_duration="1d"), "model_list[0] (r): budget_duration needs"),
    "a header that is a number": (entry(headers={"x": 5}), "model_list[0] (r): headers must be"),
    "a header named by a number": (entry(extra_headers={5: "x"}), "model_list[0] (r): headers must be"),
    "a base that is malformed": (entry(api_base="http://[bad"), "model_list[0] (r): api_base must be an http(s) URL"),
    "a base without a scheme": (entry(api_base="host:8000"), "model_list[0] (r): api_base must be an http(s) URL"),
    "a wrong duration": (
        entry(max_budget=1, budget_duration="1y"),
        "model_list[0] (r): a budget's window must be",
    ),
    "a budget without a price": (entry(model="cohere/unlisted", max_budget=1), "a budget needs a price"),
}


@pytest.mark.parametrize(("given", "message"), list(WRONG.values()), ids=list(WRONG))
def test_a_wrong_entry_is_refused_with_its_position(given: Any, message: str) -> None:
    assert message in refused(given)


def test_a_weight_may_be_0() -> None:
    assert [each.terms.weight for each in read(entry(weight=0), entry())] == [0, None]


def test_a_wrong_entry_among_others_is_named() -> None:
    assert refused(entry(), entry("x"), entry("y", weight=-1)).startswith("model_list[2] (y): weight")


@pytest.mark.parametrize("given", [[], None, {}, "r", {"model_name": "r"}])
def test_a_model_list_that_is_no_list_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="model_list must be a list"):
        Router(given)


def test_an_id_that_is_used_twice_is_refused() -> None:
    twice = [{**entry(), "model_info": {"id": 1}}, {**entry("x"), "model_info": {"id": "1"}}]
    assert refused(*twice).startswith("model_list[1] (x): the id 1 ")


def test_a_copy_of_an_entry_shares_nothing_with_it() -> None:
    (first,) = read(entry(budget=Budget(1.0)))
    with pytest.warns(RuntimeWarning, match="counts on its own"):
        copies = (copy.deepcopy(first), pickle.loads(pickle.dumps(first)))  # noqa: S301
    for other in copies:
        assert (other.terms, repr(other.deployment)) == (first.terms, repr(first.deployment))
        assert other.deployment is not first.deployment
        assert other.deployment.budget is not first.deployment.budget


# Settings of a router.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"routing_strategy": "simple-shufle"}, "did you mean simple-shuffle?"),
        ({"routing_strategy": 5}, "routing_strategy must be one of simple-shuffle, least-busy"),
        ({"routing_strategy_args": ["ttl"]}, "routing_strategy_args must be a mapping"),
        ({"model_group_alias": ["r"]}, "model_group_alias must be a mapping"),
        ({"routing_strategy_args": {"ttl": -1}}, "ttl must be a number of at least 0, got -1"),
        ({"routing_strategy_args": {"lowest_latency_buffer": "much"}}, "lowest_latency_buffer must be a number"),
        ({"num_retries": -1}, "num_retries must be an integer of at least 0, got -1"),
        ({"retry_after": -1}, "retry_after must be a number of at least 0, got -1"),
        ({"allowed_fails": 1.5}, "allowed_fails must be an integer of at least 0, got 1.5"),
        ({"cooldown_time": math.nan}, "cooldown_time must be a number of at least 0"),
        ({"max_fallbacks": True}, "max_fallbacks must be an integer of at least 0, got True"),
        ({"model_group_alias": {"a": "nobody"}}, "model_group_alias of a must be one of r, got 'nobody'"),
        ({"model_group_alias": {"a": {"model": "nobody"}}}, "model_group_alias of a must be one of r"),
        ({"model_group_alias": {"a": {"hidden": True}}}, "model_group_alias of a must be one of r"),
        ({"model_group_alias": {"r": "r"}}, "model_group_alias: r is"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused(options: dict[str, Any], message: str) -> None:
    assert message in refused(**options)


def test_a_setting_of_none_means_the_default() -> None:
    names = ("max_fallbacks", "num_retries", "retry_after", "allowed_fails", "cooldown_time", "routing_strategy")
    given: dict[str, Any] = dict.fromkeys((*names, "routing_strategy_args"))
    assert Router([entry()], **given).as_reranker().options.max_retries == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout must be a positive number of seconds"),
        ({"api_key": KEY}, "api_key cannot be set for a router"),
        ({"nonsense": 1}, "nonsense"),
        ({"cache": 5}, "cache must be a Cache"),
    ],
    ids=["timeout", "api_key", "nonsense", "cache"],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    assert message in refused(kind=BadRequestError, **options)
