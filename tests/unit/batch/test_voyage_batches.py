"""The client of Voyage's Batch API against the examples of its documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.batch import voyage

from anyrerank import APIResponseValidationError, AuthenticationError, ConfigurationError
from anyrerank._core.client import BatchApiReranker
from anyrerank.batch.batch_api import Answers
from anyrerank.batch.voyage_batches import Result, VoyageBatches, line, parameters_of, results_in
from anyrerank.testing import Exchange, StubServer

EXAMPLES: dict[str, Any] = json.loads(Path(__file__).with_name("voyage_batch_api.json").read_text(encoding="utf-8"))
BODY = b'{"query":"q","documents":["a","b"],"model":"rerank-2.5","top_k":1,"truncation":true}'


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(handler=answer) as stub:
        yield stub


@pytest.fixture
def api(server: StubServer) -> VoyageBatches:
    return client(f"{server.url}/v1?tenant=7")


def client(base: str) -> VoyageBatches:
    return VoyageBatches(BatchApiReranker(voyage(base), Answers(), 0.0).original)


def answer(exchange: Exchange) -> None:
    request = exchange.request
    match request.method, request.target.removeprefix("/v1/").partition("?")[0]:
        case "POST", "files":
            exchange.respond(200, EXAMPLES["upload"])
        case "POST", "batches":
            exchange.respond(200, EXAMPLES["create"])
        case "GET", "batches":
            exchange.respond(200, EXAMPLES["list"])
        case "GET", "batches/batch_abc123":
            exchange.respond(200, EXAMPLES["running"])
        case "GET", "batches/batch_def456":
            exchange.respond(200, EXAMPLES["completed"])
        case "GET", "files/file_xyz987/content":
            content = "".join(json.dumps(each) + "\n" for each in EXAMPLES["lines"])
            exchange.respond(200, content, {"content-type": "text/plain"})
        case _:
            exchange.respond(404, {"detail": "Not Found"})


async def test_a_file_is_uploaded_and_a_batch_is_created_from_it(api: VoyageBatches, server: StubServer) -> None:
    lines = [line("0-a", BODY), line("1-b", BODY)]
    assert await api.submit(lines, parameters_of(BODY), "t0") == "batch-abc123"
    upload, create = server.requests
    assert upload.target == "/v1/files?tenant=7"
    assert upload.headers["content-type"] == "multipart/form-data; boundary=t0"
    assert upload.headers["authorization"] == "Bearer pa-key"
    assert b'name="purpose"\r\n\r\nbatch\r\n--t0\r\n' in upload.body
    file = b'{"custom_id":"0-a","body":{"query":"q","documents":["a","b"]}}\n'
    assert file + file.replace(b"0-a", b"1-b") in upload.body
    assert create.json == {
        "endpoint": "/v1/rerank",
        "completion_window": "12h",
        "request_params": {"model": "rerank-2.5", "truncation": True},
        "input_file_id": "file_abc123",
        "metadata": {"anyrerank": "t0"},
    }


async def test_the_status_of_a_batch_is_read(api: VoyageBatches) -> None:
    running, completed = await api.get("batch_abc123"), await api.get("batch_def456")
    assert (running.status, running.has_ended, running.files) == ("in_progress", False, [])
    assert (completed.status, completed.has_ended, completed.files) == ("completed", True, ["file_xyz987"])


async def test_a_batch_is_found_by_its_metadata(api: VoyageBatches) -> None:
    assert await api.find("t0") == "batch-def456"
    assert await api.find("t1") is None


async def test_lines_of_results_and_errors_are_read(api: VoyageBatches) -> None:
    found = dict(results_in(await api.download("file_xyz987")))
    assert {name: each.status for name, each in found.items()} == {"0-a": 200, "1-b": 500, "2-c": None}
    assert json.loads(found["0-a"].body) == EXAMPLES["lines"][0]["response"]["body"]
    assert json.loads(found["1-b"].body) == {"detail": "Internal Server Error"}


def test_lines_that_are_none_are_left_out() -> None:
    content = b'nonsense\n\n[]\n{"custom_id": 3}\n{"custom_id": "a", "response": {"status_code": "200"}}'
    assert dict(results_in(content)) == {"a": Result(None, b"")}


async def test_answers_that_are_none_are_errors(api: VoyageBatches, server: StubServer) -> None:
    server.handler = lambda exchange: exchange.respond(200, "<html>hello</html>")
    with pytest.raises(APIResponseValidationError, match="has no status"):
        await api.get("batch_abc123")
    server.handler = lambda exchange: exchange.respond(401, {"detail": "bad key pa-key"})
    with pytest.raises(AuthenticationError) as caught:
        await api.download("file_xyz987")
    assert "pa-key" not in str(caught.value)


def test_a_base_url_without_the_api_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must end in /v1"):
        client("https://gw.example/other#")
