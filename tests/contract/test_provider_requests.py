"""What every provider sends: the same bytes for the same request, the key in one header, and only what it declares."""

from __future__ import annotations

import builtins
import json
import logging
import os
import socket
from typing import Any

import pytest
from tests.contract.provider_dialect import (
    DOCUMENTS,
    QUERY,
    ROWS,
    Dialect,
    each_http_provider,
    each_provider,
)
from tests.support.harness import KEY, Mode, Replay, answering

import anyrerank
from anyrerank import BadRequestError
from anyrerank._core.runtime import HttpResponse
from anyrerank._core.types import RerankRequest
from anyrerank.providers import load, names

BASE_FORMS = ("plain", "slash", "version", "version and slash", "endpoint", "endpoint and slash", "path", "query")
FULL_PATHS = (
    "/v1/rerank",
    "/api/v1/reranking",
    "/v1/reranks/",
    "/score",
    "/x/invocations?a=b",
    "/Re-Rank",
    "/m:predict",
)
VALUES: dict[str, Any] = {"max_chunks_per_doc": 1, "priority": 1, "relevant_spans": True}
"""Valid values of the options that are not strings."""


@each_http_provider
def test_building_and_reading_do_no_io(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = Dialect(name)
    provider = dialect.provider()
    request = RerankRequest(query=QUERY, documents=DOCUMENTS)
    answer = HttpResponse(status=200, headers={}, content=json.dumps(dialect.answer(ROWS)).encode())

    def forbidden(*arguments: Any, **options: Any) -> None:
        raise AssertionError("I/O in a pure function")

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "open", forbidden)
        patched.setattr(os, "getenv", forbidden)
        patched.setattr(socket, "socket", forbidden)
        first, second = provider.build_request(request), provider.build_request(request)
        scores = provider.read(request, answer).scores

    assert first == second
    assert sorted(scores) == ROWS


@each_http_provider
@pytest.mark.parametrize("path", FULL_PATHS)
def test_full_url_is_not_extended(name: str, path: str, mode: Mode) -> None:
    dialect = Dialect(name)
    replay = answering({})
    reranker = dialect.reranker(mode, replay, api_base=f"http://own.test/x{path}")
    with pytest.raises(anyrerank.RerankError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert replay.seen[-1].url.path == f"/x{path}".partition("?")[0].rstrip("/")


@each_http_provider
def test_none_is_never_sent(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    nothing: dict[str, Any] = dict.fromkeys(
        [*dialect.kind.options, "top_n", "rank_fields", "user", "metadata", "extra_body"]
    )
    _, (request,) = dialect.rerank(mode, dialect.answer(), **nothing)
    _, (plain,) = dialect.rerank(mode, dialect.answer())
    assert request.content == plain.content
    assert b"null" not in request.content


@each_http_provider
def test_user_metadata_and_return_documents_are_not_sent(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    local: dict[str, Any] = {"user": "ann", "metadata": {"team": "search"}, "return_documents": True}
    _, (request,) = dialect.rerank(mode, dialect.answer(), **local)
    _, (plain,) = dialect.rerank(mode, dialect.answer())
    assert (request.content, request.headers) == (plain.content, plain.headers)


@each_http_provider
def test_extra_body_is_merged_into_the_request(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    _, (request,) = dialect.rerank(mode, dialect.answer(), extra_body={"beta": [1, None]})
    _, (plain,) = dialect.rerank(mode, dialect.answer())
    assert json.loads(request.content) == {**json.loads(plain.content), "beta": [1, None]}


# The key


@each_http_provider
def test_key_is_in_one_header_and_nowhere_else(name: str, mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    dialect = Dialect(name)
    caplog.set_level(logging.DEBUG)
    response, (request,) = dialect.rerank(mode, dialect.answer())
    header, value = dialect.key_header
    assert request.headers[header] == value.replace("KEY", KEY)
    assert [key for key, value in request.headers.multi_items() if KEY in value] == [header]
    assert KEY not in str(request.url)
    assert KEY.encode() not in request.content
    reranker = mode.reranker(dialect.model, **dialect.arguments)
    provider = dialect.provider()
    built = provider.build_request(RerankRequest(query=QUERY, documents=DOCUMENTS))
    assert KEY not in f"{reranker!r} {provider!r} {provider.connection!r} {built!r} {response!r} {caplog.text}"


@each_http_provider
def test_missing_key_names_the_variables(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    if not dialect.provider().key_required:
        pytest.skip("works without a key")
    replay = answering({})
    with pytest.raises(anyrerank.AuthenticationError) as caught:
        mode.rerank(dialect.reranker(mode, replay, api_key=None), QUERY, DOCUMENTS)
    assert all(variable in caught.value.message for variable in dialect.kind.key_variables)
    assert replay.seen == []


# Options


@each_provider
def test_every_declared_option_is_recorded(name: str) -> None:
    dialect = Dialect(name)
    assert dialect.kind.options == dialect.recorded["options"].keys(), (
        f"tests/wire/{name}.json: for each option of the provider, and for no other, record under 'options' a value "
        "that is 'given' and the part of the body that is 'sent' for it"
    )


@each_http_provider
def test_declared_options_are_sent(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    _, (plain,) = dialect.rerank(mode, dialect.answer())
    for option, recorded in dialect.recorded["options"].items():
        given = {option: recorded["given"], **recorded.get("with", {})}
        _, (request,) = dialect.rerank(mode, dialect.answer(), **given)
        assert json.loads(request.content) == {**json.loads(plain.content), **recorded["sent"]}, option


@each_provider
def test_undeclared_option_raises_before_sending_or_is_dropped(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    every = frozenset[str]().union(*(load(other).options for other in names()), ["instruction", "no_such_option"])
    for option in sorted(every - dialect.kind.options - {"max_tokens_per_doc"}):  # which works everywhere
        given = {option: VALUES.get(option, "x")}
        replay = Replay(dialect.exchanges)
        with pytest.raises(BadRequestError) as caught:
            dialect.reranker(mode, replay, **given)
        assert all(word in caught.value.message for word in (option, *dialect.kind.options, "drop_params"))
        with pytest.raises(BadRequestError, match=option):
            mode.rerank(dialect.reranker(mode, replay), QUERY, DOCUMENTS, **given)
        assert replay.seen == []
        response = mode.rerank(dialect.reranker(mode, replay, drop_params=True), QUERY, DOCUMENTS, **given)
        assert len(response.results) == 3
        replay.check_bodies()


# The base URL


@each_http_provider
@pytest.mark.parametrize("url", ["https://gw.example/odd/v7?tenant=7", "http://10.0.0.1:8080", "https://gw.example/a/"])
def test_url_that_ends_in_a_hash_is_used_exactly(name: str, url: str, mode: Mode) -> None:
    _, (request,) = Dialect(name).rerank(mode, Dialect(name).answer(), api_base=f"{url}#")
    assert str(request.url) in (url, f"{url}/")


@each_http_provider
@pytest.mark.parametrize("form", BASE_FORMS)
def test_base_url_is_composed_as_recorded(name: str, form: str, mode: Mode) -> None:
    dialect = Dialect(name)
    assert dialect.recorded["bases"].keys() == set(BASE_FORMS), f"tests/wire/{name}.json: record 'bases' in each form"
    recorded = dialect.recorded["bases"][form]
    _, (request,) = dialect.rerank(mode, dialect.answer(), api_base=recorded["base"])
    assert str(request.url) == recorded["url"]


@each_http_provider
@pytest.mark.parametrize("base", ["gw.example", "ftp://gw.example", "https://", "http://[::1", "http://gw:port/v1"])
def test_malformed_base_url_names_the_variables(name: str, base: str, mode: Mode) -> None:
    dialect = Dialect(name)
    replay = answering({})
    with pytest.raises(anyrerank.ConfigurationError) as caught:
        mode.rerank(dialect.reranker(mode, replay, api_base=base), QUERY, DOCUMENTS)
    assert all(variable in caught.value.message for variable in dialect.kind.base_variables)
    assert replay.seen == []


# Sync and async


@each_provider
def test_sync_and_async_send_and_return_the_same(name: str) -> None:
    dialect = Dialect(name)
    seen: list[Any] = []
    for asynchronous in (False, True):
        mode = Mode(asynchronous=asynchronous)
        replay = Replay(dialect.exchanges)
        response = mode.rerank(dialect.reranker(mode, replay), QUERY, DOCUMENTS)
        varying = {"latency", "attempts"} | (set() if dialect.expected["id"] else {"id"})
        headers = [dict(request.headers) for request in replay.seen]
        contents = [request.content for request in replay.seen]
        seen.append((response.model_dump(exclude=varying), len(response.attempts), headers, contents))
        mode.finish()
    assert seen[0] == seen[1]
