"""Answers that are broken or too large: each is one clear error, without a secret."""

from __future__ import annotations

import gzip
import threading

import pytest
from tests.support.harness import Mode
from tests.support.loopback import Line, Loopback, Script, in_turn, well
from tests.unit.http.transport.network import GENEROUS, GOOD, HEAD, failure, length, sends, works

from anyrerank import (
    APIConnectionError,
    APIResponseValidationError,
    RerankError,
)
from anyrerank._core.http import responses


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


CLOSED, NOT_HTTP = "the server closed the connection before it had answered", "the answer is not valid HTTP"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("body shorter than its length", CLOSED),
        ("closed without an answer", CLOSED),
        ("reset without an answer", CLOSED),
        ("chunk with a bad length", NOT_HTTP),
        ("binary garbage", NOT_HTTP),
    ],
)
def test_the_reason_is_the_same_for_all_clients(name: str, reason: str, way: Mode, server: Loopback) -> None:
    server.script, _ = BROKEN[name]
    hint = "if the server speaks https, write https:// in its URL"
    assert failure(way, way.reranker(api_base=server.url)).message == f"the connection failed: {reason}; {hint}"


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
