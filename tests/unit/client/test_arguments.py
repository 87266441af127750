"""The arguments of calls and constructors, and calls that are refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.harness import KEY, Mode
from tests.support.loopback import Loopback
from tests.unit.client.calls import DOCUMENTS, QUERY, indexes

import anyrerank
from anyrerank import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
)

WRONG: dict[str, dict[str, Any]] = {
    "query none": {"query": None},
    "query blank": {"query": "\u2003"},
    "a string for documents": {"documents": "Ottawa"},
    "a mapping for documents": {"documents": {"text": "Ottawa"}},
    "a number among documents": {"documents": ["Ottawa", 3]},
    "a mapping without text": {"documents": [{"title": "Ottawa"}]},
    "documents none": {"documents": None},
    "top_n 0": {"top_n": 0},
    "top_n -1": {"top_n": -1},
    "top_n true": {"top_n": True},
    "top_n text": {"top_n": "3"},
    "batch_size 0": {"batch_size": 0},
    "max_concurrency 0": {"max_concurrency": 0},
    "max_retries -1": {"max_retries": -1},
    "timeout 0": {"timeout": 0},
    "timeout NaN": {"timeout": float("nan")},
    "threshold text": {"score_threshold": "0.5"},
    "score_mode": {"score_mode": "percent"},
    "on_error": {"on_error": "ignore"},
    "fuse": {"fuse": "mean"},
    "rank_fields a string": {"rank_fields": "title"},
    "extra_body a list": {"extra_body": [1]},
    "an option of another provider": {"truncate": "END"},
}


@pytest.mark.parametrize("wrong", list(WRONG.values()), ids=list(WRONG))
def test_invalid_call_is_refused_before_sending(wrong: dict[str, Any], mode: Mode, server: Loopback) -> None:
    call = {"query": QUERY, "documents": DOCUMENTS, **wrong}
    with pytest.raises(BadRequestError) as caught:
        mode.function(model="cohere/rerank-v3.5", api_key=KEY, api_base=server.url, **call)
    with pytest.raises(BadRequestError):
        mode.rerank(mode.reranker(api_base=server.url), **call)
    assert caught.value.status_code is None
    assert server.hits == []


@pytest.mark.parametrize("name", ["api_key", "api_base", "model", "http_client", "fallbacks", "headers"])
def test_call_cannot_override_the_connection(name: str, mode: Mode, server: Loopback) -> None:
    with pytest.raises(BadRequestError, match=f"{name} cannot be set in a call: pass it to the constructor"):
        mode.rerank(mode.reranker(api_base=server.url), QUERY, DOCUMENTS, **{name: "x"})
    assert server.hits == []


@pytest.mark.parametrize("model", ["acme/model", "cohere", "", "/model", "cohere/", "Cohere/rerank-v3.5"])
def test_unknown_model_is_refused(model: str, mode: Mode) -> None:
    with pytest.raises(ConfigurationError):
        mode.function(model=model, query=QUERY, documents=DOCUMENTS, api_key=KEY)


def test_custom_llm_provider(mode: Mode, server: Loopback) -> None:
    for model in ("rerank-v3.5", "cohere/rerank-v3.5"):
        mode.function(
            model=model,
            custom_llm_provider="cohere",
            query=QUERY,
            documents=DOCUMENTS,
            api_key=KEY,
            api_base=server.url,
        )
    assert [hit.json["model"] for hit in server.hits] == ["rerank-v3.5"] * 2


def test_function_takes_the_positional_arguments_of_litellm(mode: Mode, server: Loopback) -> None:
    options: dict[str, Any] = {"api_key": KEY, "api_base": server.url}
    positional = ("rerank-v3.5", QUERY, DOCUMENTS, "cohere", 1, None, False)
    if mode.asynchronous:
        response = mode.run(anyrerank.arerank(*positional, **options))
    else:
        response = anyrerank.rerank(*positional, **options)
    assert [(each.index, each.document) for each in response.results] == [(1, None)]


def test_function_takes_base_url_and_extra_headers(mode: Mode, server: Loopback) -> None:
    mode.function(
        model="cohere:rerank-v3.5",
        query=QUERY,
        documents=DOCUMENTS,
        api_key=KEY,
        base_url=server.url,
        headers={"x-team": "search"},
        extra_headers={"x-tenant": "7"},
        timeout="30",
    )
    (hit,) = server.hits
    assert (hit.headers["x-team"], hit.headers["x-tenant"], hit.json["model"]) == ("search", "7", "rerank-v3.5")


def test_functions_share_their_connections(server: Loopback) -> None:
    for _ in range(3):
        anyrerank.rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS, api_key=KEY, api_base=server.url)
    assert (len(server.hits), server.connections) == (3, 1)


def test_constructor_needs_no_key_and_sends_nothing(
    mode: Mode, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = mode.reranker(api_base=server.url, api_key=None)
    assert (server.hits, server.connections) == ([], 0)
    with pytest.raises(AuthenticationError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    monkeypatch.setenv("CO_API_KEY", KEY)
    assert indexes(mode.rerank(reranker, QUERY, DOCUMENTS)) == [1, 2, 0]
