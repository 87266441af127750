"""Servers that quote what they were sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.support.harness import Mode, leaks
from tests.support.loopback import Line, Loopback
from tests.unit.http.transport.network import DOCUMENTS, failure

from anyrerank import (
    APIConnectionError,
)

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


def test_an_error_of_a_library_shows_no_query_string(mode: Mode) -> None:
    def fails(request: httpx.Request) -> httpx.Response:
        raise OSError(f"Can not write request body for {request.url}")

    client = mode.client(transport=httpx.MockTransport(fails))
    error = failure(mode, mode.reranker(http_client=client, api_base="http://rerank.invalid/v2?key=s3cr3t-k3y"))
    assert (type(error), error.message) == (APIConnectionError, "the connection failed: OSError")
    assert not leaks(error, ["s3cr3t-k3y"])
