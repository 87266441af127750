"""Answers that do not come, or not in time."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.support.harness import Mode
from tests.support.loopback import Line, Loopback, Script, well
from tests.unit.http.transport.network import DOCUMENTS, GOOD, HEAD, QUERY, failure, length, sends, silence, works

from anyrerank import (
    APIConnectionError,
    APITimeoutError,
    InternalServerError,
)

BRIEF = 0.15
"""Seconds of a call whose time runs out."""


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
    assert re.search("Connection refused|All connection attempts failed", error.message)  # the latter is httpx's
    assert error.message.endswith("check that a server runs at this address")
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


def test_disconnection_says_who_closed_the_connection(mode: Mode) -> None:
    def hang_up(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)

    reranker = mode.reranker(http_client=mode.client(transport=httpx.MockTransport(hang_up)))
    with pytest.raises(APIConnectionError, match="the server closed the connection before it had answered"):
        mode.rerank(reranker, QUERY, DOCUMENTS)
