"""LiteLLM's settings in a file and arguments of its `Router`: honoured, named in a warning, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.frameworks import Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY

from anyrerank import BadRequestError, BudgetExceededError, ConfigurationError, MemoryCache, RedisCache, Router
from anyrerank._core.routing import read_config

COHERE = {"model_name": "r", "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": KEY}}


def written(folder: Path, *entries: Any, **sections: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(json.dumps({"model_list": entries or [COHERE], **sections}), encoding="utf-8")
    return path


def refused(folder: Path, **sections: Any) -> str:
    path = written(folder, **sections)
    with pytest.raises(ConfigurationError) as caught:
        Router.from_config(path)
    assert caught.value.message.startswith(str(path))
    return caught.value.message.removeprefix(str(path))


@pytest.mark.parametrize(
    ("settings", "user"),
    [({"max_budget": 0.003, "budget_duration": "30d"}, None), ({"max_end_user_budget": 0.003}, "ann")],
    ids=["for everyone", "for a user"],
)
def test_a_budget_of_the_file_is_enforced(tmp_path: Path, settings: dict[str, Any], user: str | None) -> None:
    wire = Wire()
    with httpx.Client(transport=httpx.MockTransport(wire)) as client:
        router = Router.from_config(written(tmp_path, litellm_settings=settings), http_client=client)
        router.rerank("r", QUERY, DOCUMENTS, user=user)
        with pytest.raises(BudgetExceededError):
            router.rerank("r", QUERY, DOCUMENTS, user=user)
    assert len(wire.requests) == 1


def test_a_budget_may_come_from_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLLARS", "2.5")
    config = read_config(written(tmp_path, litellm_settings={"max_budget": "os.environ/DOLLARS"}))
    assert repr(config.router["budget"]) == "Budget(2.5, None)"


def test_certificates_are_those_of_every_deployment_without_its_own(tmp_path: Path) -> None:
    own = {**COHERE, "litellm_params": {**COHERE["litellm_params"], "ssl_verify": True}}  # type: ignore[dict-item]
    path = written(tmp_path, COHERE, own, litellm_settings={"ssl_verify": False, "ssl_certificate": "client.pem"})
    params = [each["litellm_params"] for each in read_config(path).router["model_list"]]
    assert [each["ssl_verify"] for each in params] == [False, True]
    assert [each["ssl_certificate"] for each in params] == ["client.pem"] * 2


LOCAL = {"type": "local", "ttl": 600}


@pytest.mark.parametrize(
    ("settings", "ttl"),
    [
        ({"cache": True}, 3600.0),
        ({"cache": True, "cache_params": LOCAL}, 600.0),
        ({"cache": True, "cache_params": {**LOCAL, "supported_call_types": ["acompletion", "arerank"]}}, 600.0),
        ({"cache": True, "cache_params": {**LOCAL, "supported_call_types": ["acompletion"]}}, None),
        ({"cache": True, "cache_params": {**LOCAL, "mode": "default_off"}}, None),
        ({"cache": False, "cache_params": {"type": "redis", "host": "os.environ/NOT_SET"}}, None),
        ({"cache_params": LOCAL}, None),
    ],
    ids=str,
)
def test_a_cache_in_memory_is_used(tmp_path: Path, settings: dict[str, Any], ttl: float | None) -> None:
    cache = Router.from_config(written(tmp_path, litellm_settings=settings)).as_reranker().options.cache
    assert (cache.ttl if isinstance(cache, MemoryCache) else None) == ttl


@pytest.mark.parametrize(
    ("params", "ignored"),
    [
        ({"mode": "default_off"}, ("litellm_settings.cache (cache_params: mode: default_off)",)),
        (
            {"supported_call_types": ["acompletion"]},
            ("litellm_settings.cache (cache_params: supported_call_types without rerank)",),
        ),
        ({"mode": "default_on", "supported_call_types": ["rerank"]}, ()),
    ],
    ids=str,
)
def test_a_cache_that_would_hold_no_scores_is_named_as_ignored(
    tmp_path: Path, params: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    path = written(tmp_path, litellm_settings={"cache": True, "cache_params": {**LOCAL, **params}})
    assert read_config(path).ignored == ignored
    off = written(tmp_path, litellm_settings={"cache": False, "cache_params": {**LOCAL, **params}})
    assert read_config(off).ignored == ()


PLACES: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "url": ({"url": "rediss://h:1/2"}, {}, "rediss://h:1/2"),
    "host": ({"host": "h"}, {}, "redis://h:6379/0"),
    "all": (
        {"host": "::1", "port": 7, "username": "u", "password": "p/w", "db": 3, "ssl": True},
        {},
        "rediss://u:p%2Fw@[::1]:7/3",
    ),
    "variables in the file": (
        {"host": "os.environ/H", "port": "os.environ/P", "password": "os.environ/W"},
        {"H": "h", "P": "7", "W": "w"},
        "redis://:w@h:7/0",
    ),
    "REDIS_URL": ({}, {"REDIS_URL": "redis://h:9/0", "REDIS_HOST": "other"}, "os.environ/REDIS_URL"),
    "a url in a variable": ({"url": "os.environ/URL"}, {"URL": "redis://h:9/0"}, "os.environ/URL"),
    "REDIS_HOST": ({}, {"REDIS_HOST": "h", "REDIS_PASSWORD": "w", "REDIS_SSL": "true"}, "rediss://:w@h:6379/0"),
}


@pytest.mark.parametrize(("params", "variables", "url"), PLACES.values(), ids=PLACES.keys())
def test_a_cache_in_redis_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any], variables: dict[str, str], url: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = {"cache": True, "cache_params": {"type": "redis", "ttl": 60, "namespace": "n", **params}}
    router = Router.from_config(written(tmp_path, litellm_settings=settings))
    assert router.as_reranker().options.cache.__reduce__() == RedisCache(url, ttl=60, prefix="n").__reduce__()


def test_a_cache_in_redis_answers_for_another_process(tmp_path: Path, redis_url: str) -> None:
    wire = Wire()
    path = written(tmp_path, litellm_settings={"cache": True, "cache_params": {"type": "redis", "url": redis_url}})
    for cached in (0, 2):
        with httpx.Client(transport=httpx.MockTransport(wire)) as client:
            response = Router.from_config(path, http_client=client).rerank("r", QUERY, ["a 0.1", "b 0.9"])
        assert response.cached == cached
    assert len(wire.requests) == 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a cache of another type": (
        {"litellm_settings": {"cache": True, "cache_params": {"type": "s3"}}},
        "a cache of type s3 is not supported",
    ),
    "a cache in Redis that is not set": (
        {"litellm_settings": {"cache": True, "cache_params": {"type": "redis", "host": "os.environ/NOT_SET"}}},
        "the environment variable NOT_SET is not set, or is empty",
    ),
    "a cache in no Redis": (
        {"litellm_settings": {"cache": True, "cache_params": {"type": "redis"}}},
        "needs a host or a url",
    ),
    "a cache in two servers": (
        {"litellm_settings": {"cache": True, "cache_params": {"type": "redis", "host": "h", "url": "redis://h"}}},
        "set either url or host",
    ),
    "a cache in a cluster": (
        {"litellm_settings": {"cache": True, "cache_params": {"type": "redis", "redis_startup_nodes": [{}]}}},
        "Redis Cluster is not supported",
    ),
    "a cache that is no mapping": ({"litellm_settings": {"cache": True, "cache_params": "local"}}, "must be a mapping"),
    "a duration alone": ({"litellm_settings": {"budget_duration": "1d"}}, "budget_duration needs a max_budget"),
    "a negative budget": ({"litellm_settings": {"max_budget": -1}}, "max_budget: a budget must be"),
    "a budget for tags": ({"litellm_settings": {"tag_budget_config": {"a": {}}}}, "tag_budget_config is not supported"),
    "blocked users": ({"litellm_settings": {"blocked_user_list": ["a"]}}, "blocked_user_list is not supported"),
    "budgets of internal users": (
        {"litellm_settings": {"max_internal_user_budget": 0.1, "internal_user_budget_duration": "1mo"}},
        "there are no internal users",
    ),
    "bounds of new keys": (
        {"litellm_settings": {"upperbound_key_generate_params": {"max_budget": 100}}},
        "upperbound_key_generate_params is not supported",
    ),
    "guardrails by policy": ({"policy_attachments": [{"policy": "strict", "scope": "*"}]}, "policy_attachments, which"),
    "access of fallbacks": ({"router_settings": {"fallback_access_check": True}}, "fallback_access_check: it is not"),
    "a callback that guards": ({"litellm_settings": {"callbacks": ["otel", "presidio"]}}, "presidio decides"),
    "a misspelt section": ({"guardrail": []}, "there is no section guardrail; did you mean guardrails?"),
    "Redis that is not set": (
        {"router_settings": {"redis_host": "os.environ/NOT_SET"}},
        "the environment variable NOT_SET is not set, or is empty",
    ),
    "two servers": ({"router_settings": {"redis_host": "h", "redis_url": "redis://h"}}, "not both"),
    "a password for no server": ({"router_settings": {"redis_password": "p"}}, "redis_password needs a redis_host"),
    "a cluster": ({"router_settings": {"redis_startup_nodes": [{"host": "h"}]}}, "Redis Cluster is not supported"),
    "a budget for a provider": (
        {"router_settings": {"provider_budget_config": {"cohere": {"budget_limit": 1, "time_period": "1d"}}}},
        "provider_budget_config is not supported",
    ),
    "an address for all": ({"litellm_settings": {"api_base": "http://own.test"}}, "set api_base in each"),
    "certificates for all calls": (
        {"router_settings": {"default_litellm_params": {"ssl_verify": "ca.pem", "timeout": 3}}},
        "default_litellm_params: ssl_verify would have no effect",
    ),
    "a guardrail of the first form": (
        {"litellm_settings": {"guardrails": [{"pii": {"callbacks": ["presidio"], "default_on": False}}]}},
        "guardrails is not supported: write each in the section guardrails",
    ),
    "a guardrail of another kind": (
        {"guardrails": [{"guardrail_name": "g", "litellm_params": {"guardrail": "aporia", "mode": "pre_call"}}]},
        "the guardrail aporia is not supported",
    ),
}


@pytest.mark.parametrize(("sections", "message"), list(REFUSED.values()), ids=list(REFUSED))
def test_money_trust_and_access_are_not_ignored(tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    assert message in refused(tmp_path, **sections)


def test_what_has_no_effect_is_named_in_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(
        tmp_path,
        litellm_settings={"success_callback": ["langfuse"], "telemetry": False, "turn_off_message_logging": True},
        router_settings={"enable_pre_call_checks": True, "nonsense": 1, "set_verbose": None},
        files_settings=[],
    )
    Router.from_config(path)
    assert [record.getMessage() for record in caplog.records] == [
        (
            f"{path}: ignored settings: router_settings.enable_pre_call_checks, router_settings.nonsense, "
            "litellm_settings.success_callback, litellm_settings.telemetry, files_settings"
        )
    ]


def test_settings_of_a_server_are_not_enforced_by_a_router(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, general_settings={"master_key": "os.environ/NOT_SET", "database_url": KEY})
    Router.from_config(path)
    (record,) = caplog.records
    assert record.getMessage().endswith("a router enforces nothing of general_settings: database_url, master_key")


def test_arguments_of_litellms_router_are_named_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    Router([COHERE], set_verbose=True, enable_pre_call_checks=False, debug_level=None, redis_host=None)
    (record,) = caplog.records
    assert record.getMessage() == "Router: ignored arguments: enable_pre_call_checks, set_verbose"


def test_a_budget_for_a_provider_that_is_not_asked_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    Router([COHERE], provider_budget_config={"openai": {"budget_limit": 1}})
    assert "ignored arguments: provider_budget_config" in caplog.text
    with pytest.raises(ConfigurationError, match="provider_budget_config"):
        Router([{"model_name": "*", "litellm_params": {"model": "*"}}], provider_budget_config={"cohere": {}})


@pytest.mark.parametrize("name", ["redis_url", "redis_password", "guardrail_list"])
def test_arguments_that_must_not_be_ignored_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: ") as caught:
        Router([COHERE], **{name: KEY})  # type: ignore[arg-type]
    assert KEY not in caught.value.message


def test_an_unknown_argument_is_one_of_the_router_not_of_a_provider() -> None:
    with pytest.raises(BadRequestError) as caught:
        Router([COHERE], rotuing_strategy="least-busy")
    assert caught.value.message == "Router has no argument rotuing_strategy; did you mean routing_strategy?"
    assert caught.value.provider is None


def test_an_option_that_no_model_takes_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r"^no model of this router takes truncate"):
        Router([COHERE], truncate="END")
    assert Router([COHERE], truncate="END", drop_params=True).model_names == ("r",)


def test_a_strategy_may_have_the_name_of_its_second_version() -> None:
    Router([COHERE], routing_strategy="usage-based-routing-v2")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"litellm_settings": {"max_budgett": 1}},
            "litellm_settings has no setting max_budgett; did you mean max_budget?",
        ),
        ({"litellm_settings": {"bugdet_duration": "1d"}}, "did you mean budget_duration?"),
        ({"router_settings": {"fallback": []}}, "router_settings has no setting fallback; did you mean fallbacks?"),
        ({"litelm_settings": {}}, "there is no section litelm_settings; did you mean litellm_settings?"),
    ],
)
def test_a_misspelt_setting_is_refused(tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    assert message in refused(tmp_path, **sections)


def test_a_setting_of_litellms_that_resembles_another_is_ignored(tmp_path: Path) -> None:
    found = {"context_window_fallbacks": [], "max_user_budget": 1, "num_retries_per_request": 2, "success_callback": []}
    config = read_config(written(tmp_path, litellm_settings=found, router_settings={"stream_timeout": 3}))
    assert {each.partition(".")[2] for each in config.ignored} == {*found, "stream_timeout"}
