"""What a network can do to a call, over real sockets: every failure is one clear error, in time, without a secret."""

from __future__ import annotations

import asyncio
import base64
import copy
import gc
import gzip
import json
import logging
import pickle
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
from tests.support.harness import KEY, Mode, leaks
from tests.support.loopback import PATIENCE, Line, Loopback, Script, in_turn, ranking, well

from anyrerank import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    Reranker,
    RerankError,
)
from anyrerank._core.http import Transport, responses

QUERY = "who signed the zebra-quartz contract"
DOCUMENTS = ["the walrus-onyx clause was signed by Jane Roe 2", "nobody signed the heron-topaz clause 1"]
SECRETS = [KEY, QUERY, *DOCUMENTS, "zebra-quartz", "walrus-onyx", "heron-topaz", "Jane Roe"]
BRIEF = 0.15
"""Seconds of a call whose time runs out."""
GENEROUS = 3.0
"""Seconds by which even a slow machine has noticed."""


@pytest.fixture(autouse=True)
def _no_network() -> None:
    """Some tests here ask hosts that do not exist, or that are behind a proxy of the test."""


def failure(way: Mode, reranker: Reranker, documents: list[str] = DOCUMENTS, **overrides: Any) -> RerankError:
    """The error of a call, which must come in time and show nothing."""
    began = time.monotonic()
    with pytest.raises(RerankError) as caught:
        way.rerank(reranker, QUERY, documents, **overrides)
    assert time.monotonic() - began < GENEROUS
    assert not leaks(caught.value, SECRETS)
    return caught.value


def works(way: Mode, reranker: Reranker) -> None:
    response = way.rerank(reranker, QUERY, DOCUMENTS)
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 1 / 2), (0, 1 / 3)]


# Answers that are broken.

GOOD = json.dumps(ranking(DOCUMENTS)).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def sends(data: bytes, then: Callable[[Line], Any] = Line.hang_up) -> Script:
    def script(line: Line) -> None:
        line.send(data)
        then(line)

    return script


def length(count: int) -> bytes:
    return f"content-length: {count}\r\n\r\n".encode()


def keep(line: Line) -> None:
    """Leave the connection open for the next request."""


BROKEN: dict[str, tuple[Script, type[RerankError]]] = {
    "html": (
        lambda line: line.answer(body="<html>Welcome to nginx!</html>", headers={"content-type": "text/html"}),
        APIResponseValidationError,
    ),
    "truncated JSON": (lambda line: line.answer(body=GOOD[:-9]), APIResponseValidationError),
    "204 without a body": (sends(b"HTTP/1.1 204 No Content\r\n\r\n", keep), APIResponseValidationError),
    "200 without a body": (lambda line: line.answer(), APIResponseValidationError),
    "304": (sends(b"HTTP/1.1 304 Not Modified\r\n\r\n", keep), APIResponseValidationError),
    "body shorter than its length": (sends(HEAD + length(len(GOOD) + 50) + GOOD), APIConnectionError),
    "chunk shorter than its length": (
        sends(HEAD + b"transfer-encoding: chunked\r\n\r\nfff\r\n" + GOOD),
        APIConnectionError,
    ),
    "chunks without an end": (
        sends(HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(GOOD), GOOD)),
        APIConnectionError,
    ),
    "chunk with a bad length": (sends(HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\n"), APIConnectionError),
    "two lengths": (sends(HEAD + b"content-length: 5\r\ncontent-length: 7\r\n\r\n" + GOOD), APIConnectionError),
    "closed without an answer": (Line.hang_up, APIConnectionError),
    "closed in the head": (sends(b"HTTP/1.1 200 OK\r\ncontent-"), APIConnectionError),
    "reset without an answer": (Line.reset, APIConnectionError),
    "not HTTP": (sends(b"220 smtp.example ESMTP ready\r\n"), APIConnectionError),
    "binary garbage": (sends(bytes(range(256)) * 4), APIConnectionError),
    "endless status line": (sends(b"HTTP/1.1 200 " + b"O" * 300_000), APIConnectionError),
    "endless header": (sends(HEAD + b"x: " + b"y" * 300_000 + b"\r\n\r\n"), APIConnectionError),
    "broken gzip": (
        lambda line: line.answer(body=b"\x1f\x8bnot gzip at all", headers={"content-encoding": "gzip"}),
        APIResponseValidationError,
    ),
    "plain JSON said to be gzip": (
        lambda line: line.answer(body=GOOD, headers={"content-encoding": "gzip"}),
        APIResponseValidationError,
    ),
    "gzip that is cut off": (
        lambda line: line.answer(body=gzip.compress(GOOD)[:-12], headers={"content-encoding": "gzip"}),
        APIResponseValidationError,
    ),
    "unknown compression": (
        lambda line: line.answer(body=b"\x00\x01\x02", headers={"content-encoding": "rot13"}),
        APIResponseValidationError,
    ),
    "101": (sends(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), RerankError),
}


@pytest.mark.parametrize(("script", "expected"), list(BROKEN.values()), ids=list(BROKEN))
def test_a_broken_answer_is_one_error_and_the_next_call_works(
    script: Script, expected: type[RerankError], way: Mode, server: Loopback
) -> None:
    server.script = in_turn(well, script, well)
    reranker = way.reranker(api_base=server.url)
    works(way, reranker)
    error = failure(way, reranker, timeout=GENEROUS - 1)
    if expected is RerankError:
        assert isinstance(error, APIConnectionError | APIResponseValidationError)
    else:
        assert type(error) is expected
    assert (error.provider, error.model, error.url) == ("cohere", "rerank-v3.5", f"{server.url}/v2/rerank")
    works(way, reranker)


def test_a_reset_in_mid_body(way: Mode, server: Loopback) -> None:
    arrived = threading.Event()

    def script(line: Line) -> None:
        line.send(HEAD + length(len(GOOD)) + GOOD[:20])
        line.reset()
        arrived.set()

    server.script = in_turn(script, well)
    reranker = way.reranker(api_base=server.url)
    assert type(failure(way, reranker)) is APIConnectionError
    assert arrived.is_set()
    works(way, reranker)


ODD_BUT_FINE: dict[str, Script] = {
    "100 first": sends(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + length(len(GOOD)) + GOOD, keep),
    "103 first": sends(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + HEAD + length(len(GOOD)) + GOOD, keep),
    "two 102 first": sends(b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + HEAD + length(len(GOOD)) + GOOD, keep),
    "without a length": sends(HEAD + b"connection: close\r\n\r\n" + GOOD),
    "chunked": sends(HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD), keep),
    "HTTP/1.0": sends(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD),
    "gzip": lambda line: line.answer(body=gzip.compress(GOOD), headers={"content-encoding": "gzip"}),
    "another type": lambda line: line.answer(body=GOOD, headers={"content-type": "text/plain"}),
    "201": lambda line: line.answer(201, GOOD),
    "a long header": lambda line: line.answer(body=GOOD, headers={"set-cookie": "a=" + "b" * 20_000}),
    "a byte order of its own": lambda line: line.answer(body=b"\r\n\t " + GOOD + b"\n"),
}


@pytest.mark.parametrize("script", list(ODD_BUT_FINE.values()), ids=list(ODD_BUT_FINE))
def test_an_odd_answer_that_is_well_formed(script: Script, way: Mode, server: Loopback) -> None:
    server.script = in_turn(script, well)
    reranker = way.reranker(api_base=server.url)
    works(way, reranker)
    works(way, reranker)


# Answers that are too large.


def test_an_answer_that_is_too_large(way: Mode, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MAX_RESPONSE_BYTES", 10_000)
    server.script = in_turn(lambda line: line.answer(body=b" " * 10_001), well)
    reranker = way.reranker(api_base=server.url)
    error = failure(way, reranker)
    assert type(error) is APIResponseValidationError
    assert "larger than" in error.message
    works(way, reranker)


def test_a_small_answer_that_unpacks_to_a_large_one(
    way: Mode, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "MAX_RESPONSE_BYTES", 100_000)
    bomb = gzip.compress(b" " * 5_000_000)
    server.script = in_turn(lambda line: line.answer(body=bomb, headers={"content-encoding": "gzip"}), well)
    reranker = way.reranker(api_base=server.url)
    error = failure(way, reranker)
    assert type(error) is APIResponseValidationError
    assert "larger than" in error.message
    works(way, reranker)


def test_a_200_mb_stream_is_not_read_to_its_end(mode: Mode, server: Loopback) -> None:
    megabyte = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    sent = []

    def script(line: Line) -> None:
        line.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(200):
            line.send(megabyte)
            sent.append(2**20)
        line.hang_up()

    server.script = in_turn(script, well)
    reranker = mode.reranker(api_base=server.url)
    error = failure(mode, reranker)
    assert type(error) is APIResponseValidationError
    assert 2 * sum(sent) >= responses.MAX_RESPONSE_BYTES
    works(mode, reranker)
    assert sum(sent) < responses.MAX_RESPONSE_BYTES + 40 * 2**20


# Answers that do not come, or not in time.


def silence(line: Line) -> None:
    line.client_left()


def head_then_silence(line: Line) -> None:
    line.send(HEAD + length(len(GOOD)))
    line.client_left()


def dripping(start: bytes, drop: bytes) -> Script:
    def script(line: Line) -> None:
        line.send(start)
        for _ in range(50):
            if line.client_left(0.03):
                return
            line.send(drop)
        line.hang_up()

    return script


SLOW: dict[str, Script] = {
    "silence": silence,
    "head, then silence": head_then_silence,
    "half a body, then silence": sends(HEAD + length(len(GOOD)) + GOOD[:9], silence),
    "a dripping body": dripping(HEAD + length(1_000_000), b" "),
    "dripping chunks": dripping(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a dripping head": dripping(HEAD, b"x-more: 1\r\n"),
    "a dripping status line": dripping(b"HTTP/1.1 200 ", b"O"),
    "dripping 100s": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "dripping gzip that unpacks to nothing": dripping(
        HEAD
        + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"a\r\n\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xff\r\n",
        b"1\r\nn\r\n",
    ),
}
DRIPPING = [script for name, script in SLOW.items() if "dripping" in name]


@pytest.mark.slow
@pytest.mark.parametrize("script", list(SLOW.values()), ids=list(SLOW))
def test_the_timeout_is_kept_whatever_the_server_does(script: Script, way: Mode, server: Loopback) -> None:
    server.script = script
    reranker = way.reranker(api_base=server.url)
    began = time.monotonic()
    error = failure(way, reranker, timeout=BRIEF)
    server.script = well  # by time and not by number: a machine under load may send nothing within so brief a call
    if way.own and not way.asynchronous and script in DRIPPING:
        # A caller's own synchronous client limits each read alone, and a drop now and then starts that anew.
        works(way, reranker)
        return
    assert BRIEF * 0.9 <= time.monotonic() - began < BRIEF + 1
    assert type(error) is APITimeoutError
    assert (error.provider, error.model, error.url) == ("cohere", "rerank-v3.5", f"{server.url}/v2/rerank")
    assert server.wait_until_no_connection()
    works(way, reranker)


def test_a_byte_just_in_time_does_not_extend_the_deadline(mode: Mode, server: Loopback) -> None:
    def script(line: Line) -> None:
        line.send(HEAD + length(len(GOOD)))
        line.client_left(0.4)
        line.send(GOOD[:5])
        line.client_left()

    server.script = script
    reranker = mode.reranker(api_base=server.url)
    began = time.monotonic()
    assert type(failure(mode, reranker, timeout=0.5)) is APITimeoutError
    assert time.monotonic() - began < 0.75


def test_one_deadline_over_all_tries(mode: Mode, server: Loopback, waits: list[float]) -> None:
    def script(line: Line) -> None:
        if not line.client_left(BRIEF / 3):
            line.answer(503, {"message": "try later"})

    server.script = script
    reranker = mode.reranker(api_base=server.url, max_retries=50, timeout=BRIEF)
    error = failure(mode, reranker)
    assert type(error) in (APITimeoutError, InternalServerError)
    assert len(server.hits) <= 4


def test_connection_refused(way: Mode, serve: Callable[..., Loopback]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    reranker = way.reranker(api_base=f"http://127.0.0.1:{port}")
    error = failure(way, reranker)
    assert type(error) is APIConnectionError
    serve(port=port)
    works(way, reranker)


def test_a_host_that_does_not_exist(way: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure(way, way.reranker(api_base="http://rerank.invalid"))
    assert type(error) is APIConnectionError


def test_a_server_that_does_not_speak_tls(way: Mode, server: Loopback) -> None:
    server.script = Line.hang_up
    error = failure(way, way.reranker(api_base=server.url.replace("http:", "https:")))
    assert type(error) is APIConnectionError


# Redirects, credentials in addresses, keys that are no header.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["{other}/v2/rerank?q=1", "/v2/elsewhere", ""])
def test_a_redirect_is_not_followed(
    status: int, place: str, way: Mode, server: Loopback, serve: Callable[..., Loopback]
) -> None:
    other = serve()
    headers = {"location": place.format(other=other.url)} if place else {}
    server.script = in_turn(lambda line: line.answer(status, b"", headers), well)
    reranker = way.reranker(api_base=server.url, http_client=way.client(follow_redirects=True) if way.own else None)
    error = failure(way, reranker)
    assert type(error) is APIResponseValidationError
    assert error.status_code == status
    assert (other.host in error.message) == ("{other}" in place)
    assert (len(server.hits), other.connections, other.hits) == (1, 0, [])
    works(way, reranker)


def test_cookies_are_not_kept(mode: Mode, server: Loopback) -> None:
    server.script = lambda line: line.answer(body=GOOD, headers={"set-cookie": "session=1; path=/"})
    # a name, because cookies of bare addresses are ignored anyway
    reranker = mode.reranker(api_base=f"http://localhost:{server.port}")
    works(mode, reranker)
    works(mode, reranker)
    assert [hit.headers.get("cookie") for hit in server.hits] == [None, None]


def test_login_in_the_base_becomes_a_header(way: Mode, server: Loopback) -> None:
    expected = base64.b64encode(b"ann:p@ss-w0rd-9").decode()
    reranker = way.reranker(api_base=f"http://ann:p%40ss-w0rd-9@{server.host}/v2", api_key=None)
    works(way, reranker)
    assert server.hits[0].headers["authorization"] == f"Basic {expected}"
    assert server.hits[0].target == "/v2/rerank"
    server.script = Line.hang_up
    assert not leaks(failure(way, reranker), [expected, "w0rd-9"])
    assert "w0rd-9" not in repr(reranker)


@pytest.mark.parametrize("quoted", ["{header}", "{token}", "{password}"])
def test_a_login_that_the_server_quotes_is_not_shown(quoted: str, sync_mode: Mode, server: Loopback) -> None:
    def script(line: Line) -> None:
        header = line.hit.headers["authorization"]
        token = header.split()[1]
        password = base64.b64decode(token).decode().split(":")[1]
        line.answer(401, {"message": "refused " + quoted.format(header=header, token=token, password=password)})

    server.script = script
    reranker = sync_mode.reranker(api_base=f"http://ann:p%40ss-w0rd-9@{server.host}", api_key=None)
    error = failure(sync_mode, reranker)
    assert type(error) is AuthenticationError
    assert not leaks(error, [base64.b64encode(b"ann:p@ss-w0rd-9").decode(), "w0rd-9"])


@pytest.mark.parametrize("key", [f"{KEY}\nx-injected: 1", f"{KEY}\r\nhost: evil", f"{KEY}\x00", f"{KEY}é"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str, way: Mode, server: Loopback) -> None:
    error = failure(way, way.reranker(api_base=server.url, api_key=key))
    assert type(error) is AuthenticationError
    assert server.hits == []


def test_white_space_around_a_key_is_dropped(mode: Mode, server: Loopback) -> None:
    works(mode, mode.reranker(api_base=server.url, api_key=f" {KEY}\n"))
    assert server.hits[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("header", ["x-tenant", "x\n-tenant"])
def test_a_header_with_a_line_break_is_refused(header: str, way: Mode, server: Loopback) -> None:
    value = f"{KEY}\nx-injected: 1" if header == "x-tenant" else KEY
    error = failure(way, way.reranker(api_base=server.url, headers={header: value}))
    assert type(error) is BadRequestError
    assert server.hits == []


def test_own_headers_are_sent_and_win(way: Mode, server: Loopback) -> None:
    headers = {"X-Tenant": "7", "Authorization": "Token mine", "Accept": "application/vnd.x+json"}
    works(way, way.reranker(api_base=server.url, headers=headers))
    sent = server.hits[0].headers
    assert (sent["x-tenant"], sent["authorization"], sent["accept"]) == ("7", "Token mine", "application/vnd.x+json")


def test_http_client_is_one_of_httpx() -> None:
    with pytest.raises(ConfigurationError, match=r"httpx\.Client or an httpx\.AsyncClient"):
        Reranker("cohere/rerank-v3.5", http_client="http://proxy")  # type: ignore[arg-type]


def test_a_large_request_arrives_whole(way: Mode, server: Loopback) -> None:
    documents = [f"{'long ' * 200_000} {number}" for number in (3, 1, 2)]
    response = way.rerank(way.reranker(api_base=server.url), QUERY, documents)
    assert server.hits[0].documents == documents
    assert [each.index for each in response.results] == [1, 2, 0]


# Servers that quote what they were sent.

ECHOES: dict[str, Callable[[Line], Any]] = {
    "whole request": lambda line: {"message": line.hit.raw.decode()},
    "whole request as text": lambda line: line.hit.raw,
    "body as text": lambda line: line.hit.body,
    "body in error.message": lambda line: {"error": {"message": f"bad request: {line.hit.body.decode()}"}},
    "parsed body": lambda line: {"detail": "cannot read " + str(line.hit.json)},
    "query": lambda line: {"message": f"query '{line.hit.json['query']}' is too short"},
    "start of a document": lambda line: {"message": f"cannot embed '{line.hit.documents[0][:30]}...'"},
    "header": lambda line: {"message": f"invalid header {line.hit.headers['authorization']}"},
    "key": lambda line: {"error": f"Incorrect API key provided: {line.hit.headers['authorization'].split()[1]}."},
    "validation list": lambda line: {
        "detail": [
            {"type": "string_type", "loc": ["body", "query"], "msg": "bad", "input": line.hit.json["query"]},
            {"type": "list_type", "loc": ["body", "documents", 0], "msg": "bad", "input": line.hit.documents},
            {"type": "dict", "loc": ["body"], "msg": "bad", "input": line.hit.json, "ctx": {"body": line.hit.json}},
        ]
    },
    "list of strings": lambda line: {"errors": [f"documents.0: {text}" for text in line.hit.documents]},
    "html": lambda line: f"<html><pre>{line.hit.raw.decode()}</pre></html>",
}


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("echo", list(ECHOES.values()), ids=list(ECHOES))
def test_nothing_that_a_server_quotes_is_in_the_error(
    echo: Callable[[Line], Any], status: int, mode: Mode, server: Loopback
) -> None:
    server.script = lambda line: line.answer(status, echo(line), {"x-request-id": "rq-7"})
    error = failure(mode, mode.reranker(api_base=server.url))
    assert (error.status_code, error.request_id) == (status, "rq-7")


CUTS: dict[str, Callable[[str], Any]] = {
    "message": lambda text: {"message": text},
    "list of strings": lambda text: {"detail": [text]},
    "text": lambda text: text,
}


@pytest.mark.parametrize("cut", list(CUTS.values()), ids=list(CUTS))
@pytest.mark.parametrize("limit", [200, 300, 400])
def test_a_quotation_that_is_cut_off_is_not_shown_either(
    limit: int, cut: Callable[[str], Any], sync_mode: Mode, server: Loopback
) -> None:
    reranker = sync_mode.reranker(api_base=server.url)
    for before in range(limit - 48, limit, 3):
        text = "." * before + DOCUMENTS[0]
        server.script = lambda line, text=text: line.answer(400, cut(text))  # type: ignore[misc]
        assert "walrus" not in str(failure(sync_mode, reranker)), before


@pytest.mark.parametrize("escaped", [True, False])
def test_a_quotation_that_is_escaped_is_not_shown_either(escaped: bool, sync_mode: Mode, server: Loopback) -> None:
    secrets = ["Jos\u00e9 Ib\u00e1\u00f1ez", 'said "yes"', "on 3/4", "in M\u00e1laga"]
    documents = ["\n".join(secrets)]
    server.script = lambda line: line.answer(
        400, {"message": json.dumps(line.hit.json["documents"], ensure_ascii=escaped)}
    )
    error = failure(sync_mode, sync_mode.reranker(api_base=server.url), documents)
    assert not leaks(error, ["Jos", "Ib\u00e1", "said", "yes", "on 3/4", "laga"])


def test_a_token_in_a_header_of_the_caller_is_not_shown(sync_mode: Mode, server: Loopback) -> None:
    server.script = lambda line: line.answer(401, {"message": "unknown token t0ken-of-the-caller"})
    headers = {"authorization": "Bearer t0ken-of-the-caller"}
    error = failure(sync_mode, sync_mode.reranker(api_base=server.url, headers=headers))
    assert not leaks(error, ["t0ken-of-the-caller"])


def test_a_word_of_the_provider_that_is_in_a_document_too_is_kept(sync_mode: Mode, server: Loopback) -> None:
    server.script = lambda line: line.answer(400, {"message": "model not found: rerank-v9"})
    error = failure(sync_mode, sync_mode.reranker(api_base=server.url), ["the model was not found"])
    assert "model not found: rerank-v9" in error.message


# Proxies of the environment.


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_an_environment_proxy_is_used(
    scheme: str, mode: Mode, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve()
    monkeypatch.setenv("HTTP_PROXY", f"{scheme}{proxy.host}")
    works(mode, mode.reranker(api_base="http://rerank.invalid/v2"))
    assert proxy.hits[0].target == "http://rerank.invalid/v2/rerank"
    assert proxy.hits[0].headers["host"] == "rerank.invalid"
    assert proxy.hits[0].headers["authorization"] == f"Bearer {KEY}"


def test_no_proxy_is_honoured(
    mode: Mode, server: Loopback, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve()
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
    works(mode, mode.reranker(api_base=server.url))
    assert (len(server.hits), proxy.hits) == (1, [])


def test_a_proxy_with_a_login(mode: Mode, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve()
    monkeypatch.setenv("http_proxy", f"http://ann:pr0xy-pass@{proxy.host}")
    reranker = mode.reranker(api_base="http://rerank.invalid")
    works(mode, reranker)
    expected = base64.b64encode(b"ann:pr0xy-pass").decode()
    assert proxy.hits[0].headers["proxy-authorization"] == f"Basic {expected}"
    proxy.script = Line.hang_up
    assert not leaks(failure(mode, reranker), ["pr0xy-pass", expected])


def test_a_socks_proxy_is_one_clear_error(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setitem(sys.modules, "socksio", None)
    error = failure(mode, mode.reranker(api_base="http://rerank.invalid"))
    assert type(error) is ConfigurationError
    assert "pip install 'httpx[socks]'" in error.message


def test_https_goes_through_a_tunnel_that_may_be_refused(
    mode: Mode, serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(lambda line: line.answer(407, b"who are you?"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:pr0xy-pass@{proxy.host}")
    error = failure(mode, mode.reranker(api_base="https://rerank.invalid"))
    assert type(error) is APIConnectionError
    assert not leaks(error, ["pr0xy-pass"])
    assert (proxy.hits[0].method, proxy.hits[0].target) == ("CONNECT", "rerank.invalid:443")
    assert "authorization" not in proxy.hits[0].headers


def test_a_dead_proxy(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://ann:pr0xy-pass@127.0.0.1:{port}")
    error = failure(mode, mode.reranker(api_base="http://rerank.invalid"))
    assert type(error) is APIConnectionError
    assert not leaks(error, ["pr0xy-pass"])


# Connections: kept, shared, closed.


def test_connections_are_kept(way: Mode, server: Loopback) -> None:
    reranker = way.reranker(api_base=server.url)
    for _ in range(3):
        works(way, reranker)
    assert (len(server.hits), server.connections) == (3, 1)


def test_close_and_use_again(mode: Mode, server: Loopback) -> None:
    reranker = mode.reranker(api_base=server.url)
    for _ in range(2):
        works(mode, reranker)
        mode.close(reranker)
        assert server.wait_until_no_connection()
    mode.close(reranker)


def test_an_own_client_is_not_closed(server: Loopback) -> None:
    with httpx.Client() as client:
        with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, http_client=client) as reranker:
            reranker.rerank(QUERY, DOCUMENTS)
        assert not client.is_closed
        assert server.connections == 1


def test_an_own_client_that_is_closed_is_one_clear_error(mode: Mode) -> None:
    client = mode.client()
    reranker = mode.reranker(http_client=client, api_base="http://rerank.invalid")
    if isinstance(client, httpx.AsyncClient):
        mode.run(client.aclose())
    else:
        client.close()
    error = failure(mode, reranker)
    assert (type(error), error.message[:21]) == (ConfigurationError, "http_client is closed")


def test_an_error_of_a_library_shows_no_query_string(mode: Mode) -> None:
    def fails(request: httpx.Request) -> httpx.Response:
        raise OSError(f"Can not write request body for {request.url}")

    client = mode.client(transport=httpx.MockTransport(fails))
    error = failure(mode, mode.reranker(http_client=client, api_base="http://rerank.invalid/v2?key=s3cr3t-k3y"))
    assert (type(error), error.message) == (APIConnectionError, "the connection failed: OSError")
    assert not leaks(error, ["s3cr3t-k3y"])


def test_a_server_that_accepts_no_connection_is_told_from_a_slow_one(mode: Mode) -> None:
    def fails(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("made by the test", request=request)

    client = mode.client(transport=httpx.MockTransport(fails))
    error = failure(mode, mode.reranker(http_client=client, timeout=60))
    assert (type(error), error.message) == (APITimeoutError, "timed out: no connection within 10 s")


@pytest.mark.parametrize("kind", ["connect", "read", "write", "pool"])
def test_a_timeout_of_a_client_of_the_caller_names_it_and_its_seconds(kind: str, mode: Mode) -> None:
    raised = getattr(httpx, f"{kind.title()}Timeout")

    def fails(request: httpx.Request) -> httpx.Response:
        raise raised("made by the test", request=request)

    limits = httpx.Timeout(20.0, **{kind: 2.5})
    client = mode.client(transport=httpx.MockTransport(fails), timeout=limits)
    error = failure(mode, mode.reranker(http_client=client, timeout=60, max_retries=0))
    assert type(error) is APITimeoutError
    assert " 2.5 s" in error.message
    assert ("http_client" in error.message, f"{kind} timeout" in error.message) == (kind != "connect",) * 2


def test_a_malformed_proxy_is_one_clear_error(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:bad")
    error = failure(mode, mode.reranker(api_base="http://rerank.invalid"))
    assert (type(error), error.message[:24]) == (ConfigurationError, "a proxy in the environme")


def test_a_client_of_the_other_mode_is_left_alone(mode: Mode, server: Loopback) -> None:
    other = Mode(asynchronous=not mode.asynchronous)
    never = httpx.MockTransport(lambda request: httpx.Response(599))
    works(mode, mode.reranker(api_base=server.url, http_client=other.client(transport=never)))
    other.finish()


def test_context_managers_close(server: Loopback) -> None:
    async def use(reranker: Reranker) -> bool:
        async with reranker as same:
            assert len((await same.arerank(QUERY, DOCUMENTS)).results) == 2
        return await asyncio.to_thread(server.wait_until_no_connection)

    with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url) as reranker:
        assert len(reranker.rerank(QUERY, DOCUMENTS).results) == 2
    assert server.wait_until_no_connection()
    assert asyncio.run(use(reranker))


def test_a_connection_that_the_server_closed_meanwhile(way: Mode, server: Loopback) -> None:
    def once(line: Line) -> None:
        well(line)
        line.hang_up()

    server.script = once
    reranker = way.reranker(api_base=server.url, max_retries=1)
    for _ in range(3):
        works(way, reranker)
        assert server.wait_until_no_connection()


# Event loops.


@contextmanager
def no_complaints(caplog: pytest.LogCaptureFixture, *, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Nothing is left for the garbage collector to warn of (`but` these), and nothing is logged by asyncio."""
    caplog.set_level(logging.INFO, logger="asyncio")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        for _ in range(3):
            gc.collect()
    assert [text for each in caught if not (text := str(each.message)).startswith(but)] == []
    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


@pytest.mark.slow
def test_event_loops_one_after_another(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url)
    with no_complaints(caplog):
        for _ in range(3):
            assert len(asyncio.run(reranker.arerank(QUERY, DOCUMENTS)).results) == 2
            assert server.wait_until_no_connection()


@pytest.mark.slow
def test_event_loops_at_once(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    together = threading.Barrier(6)

    def script(line: Line) -> None:
        together.wait(PATIENCE)
        well(line)

    server.script = script
    reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url)

    def loop(_: int) -> int:
        async def calls() -> int:
            answers = await asyncio.gather(*(reranker.arerank(QUERY, DOCUMENTS) for _ in range(2)))
            return sum(len(answer.results) for answer in answers)

        return asyncio.run(calls())

    with no_complaints(caplog):
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(loop, range(3))) == [4, 4, 4]
        assert server.wait_until_no_connection()


@pytest.mark.slow
def test_a_loop_that_is_closed_without_a_farewell(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url)
    # of sockets that were open when a loop was closed asyncio itself warns, whoever opened them
    with no_complaints(caplog, but=("unclosed <socket", "unclosed transport")):
        for _ in range(3):
            loop = asyncio.new_event_loop()
            assert len(loop.run_until_complete(reranker.arerank(QUERY, DOCUMENTS)).results) == 2
            loop.close()
            del loop
        assert len(asyncio.run(reranker.arerank(QUERY, DOCUMENTS)).results) == 2
        del reranker
    assert server.wait_until_no_connection()


@pytest.mark.slow
def test_a_reranker_that_is_dropped_while_its_loop_runs(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    async def use() -> None:
        for _ in range(3):
            reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url)
            assert len((await reranker.arerank(QUERY, DOCUMENTS)).results) == 2
            del reranker
            gc.collect()

    with no_complaints(caplog):
        asyncio.run(use())
    assert server.wait_until_no_connection()


async def test_a_synchronous_call_inside_a_running_loop(server: Loopback) -> None:
    with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url) as reranker:
        many = reranker.rerank_many([QUERY] * 3, [DOCUMENTS] * 3)
        assert [len(reranker.rerank(QUERY, DOCUMENTS).results), len(many)] == [2, 3]
        async with reranker:
            assert len((await reranker.arerank(QUERY, DOCUMENTS)).results) == 2


@pytest.mark.parametrize("own", [False, True])
async def test_cancelling_aborts_the_request(own: bool, server: Loopback) -> None:
    server.script = in_turn(silence, silence, well)
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    def script(line: Line) -> None:
        loop.call_soon_threadsafe(arrived.set)
        silence(line)

    server.script = script
    async with httpx.AsyncClient() as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, http_client=client if own else None)
        async with reranker:
            task = asyncio.create_task(reranker.arerank(QUERY, DOCUMENTS))
            await asyncio.wait_for(arrived.wait(), PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.abandoned.wait, PATIENCE)
            server.script = well
            assert len((await reranker.arerank(QUERY, DOCUMENTS)).results) == 2
    assert len(server.hits) == 2


async def test_cancelling_aborts_every_batch(server: Loopback) -> None:
    arrived = threading.Barrier(4)

    def script(line: Line) -> None:
        arrived.wait(PATIENCE)
        silence(line)

    server.script = script
    async with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, batch_size=1) as reranker:
        task = asyncio.create_task(reranker.arerank(QUERY, ["a 1", "b 2", "c 3"]))
        await asyncio.to_thread(arrived.wait, PATIENCE)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert await asyncio.to_thread(server.wait_until_no_connection)
    assert len(server.hits) == 3


# Threads, processes, copies.


def test_sixteen_threads(server: Loopback) -> None:
    together = threading.Barrier(16)

    def script(line: Line) -> None:
        together.wait(PATIENCE)
        well(line)

    server.script = script
    with Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, max_retries=0) as reranker:

        def call(number: int) -> list[int]:
            return [
                each.index
                for _ in range(3)
                for each in reranker.rerank(QUERY, [f"a {number + 2}", f"b {number + 1}"]).results
            ]

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(call, range(16))) == [[1, 0] * 3] * 16
    assert len(server.hits) == 48


COPIES: dict[str, Callable[[Reranker], Reranker]] = {
    "pickle": lambda reranker: pickle.loads(pickle.dumps(reranker)),  # noqa: S301  # made on the line itself
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.mark.parametrize("copied", list(COPIES.values()), ids=list(COPIES))
def test_copies_work_with_connections_of_their_own(
    copied: Callable[[Reranker], Reranker], mode: Mode, server: Loopback
) -> None:
    reranker = mode.reranker(api_base=server.url, top_n=1, headers={"x-tenant": "7"})
    mode.rerank(reranker, QUERY, DOCUMENTS)
    twin = copied(reranker)
    assert len(mode.rerank(twin, QUERY, DOCUMENTS).results) == 1
    assert server.hits[0] == server.hits[1]
    mode.close(twin)
    assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 1


def test_a_deep_copy_keeps_the_caller_s_own_client(server: Loopback) -> None:
    with httpx.Client(headers={"x-own": "yes"}) as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, api_base=server.url, http_client=client)
        copy.deepcopy(reranker).rerank(QUERY, DOCUMENTS)
    assert server.hits[0].headers["x-own"] == "yes"


def test_a_pickle_leaves_no_client_of_the_caller_behind_unsaid() -> None:
    with httpx.Client() as client, pytest.raises(TypeError, match="pickle"):
        pickle.dumps(Reranker("cohere/rerank-v3.5", http_client=client))


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        (httpx.Timeout(5.0), {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 30.0}),
        (httpx.Timeout(2.0), {"connect": 2.0, "read": 2.0, "write": 2.0, "pool": 2.0}),
        (httpx.Timeout(None, read=90.0), {"connect": 30.0, "read": 30.0, "write": 30.0, "pool": 30.0}),
    ],
    ids=["httpx's default", "shorter", "longer"],
)
def test_the_limits_of_a_client_of_the_caller_hold(own: httpx.Timeout, limits: dict[str, float], mode: Mode) -> None:
    seen: list[dict[str, float]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 0.5}]})

    client = mode.client(transport=httpx.MockTransport(answer), timeout=own)
    mode.rerank(mode.reranker(http_client=client, timeout=30.0), QUERY, DOCUMENTS[:1])
    assert seen == [pytest.approx(limits, abs=1.0)]


def test_a_client_without_limits_in_a_call_without_one(mode: Mode) -> None:
    seen: list[dict[str, float | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 0.5}]})

    client = mode.client(transport=httpx.MockTransport(answer), timeout=None)
    mode.rerank(mode.reranker(http_client=client, timeout=None), QUERY, DOCUMENTS[:1])
    assert seen == [{"connect": None, "read": None, "write": None, "pool": None}]


def test_a_transport_that_was_never_used_closes() -> None:
    Transport().close()
    asyncio.run(Transport().aclose())


def test_disconnection_says_who_closed_the_connection(mode: Mode) -> None:
    def hang_up(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)

    reranker = mode.reranker(http_client=mode.client(transport=httpx.MockTransport(hang_up)))
    with pytest.raises(APIConnectionError, match="the server closed the connection before it had answered"):
        mode.rerank(reranker, QUERY, DOCUMENTS)
