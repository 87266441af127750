"""Together's SDK, in an environment of its own, sends the recorded requests and reads the recorded answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.processes import script
from tests.support.harness import KEY, Mode, recording, sent_by
from tests.support.loopback import Hit, Line, Loopback

CLASSES = {
    "AuthenticationError": "AuthenticationError",
    "APIStatusError": "PermissionDeniedError",
    "PermissionDeniedError": "BadRequestError",
    "NotFoundError": "NotFoundError",
    "RateLimitError": "RateLimitError",
    "InternalServerError": "InternalServerError",
}
"""Our class for each class of the SDK. It has none for 402, and maps the 403 of a long input by its number."""

CALLS = [each for each in recording("together_ai")["cases"] if each["exchanges"]]
ANSWERED = [index for index, each in enumerate(CALLS) if "expect" in each]
REFUSED = [index for index, each in enumerate(CALLS) if "error" in each]


def title(index: int) -> str:
    name: str = CALLS[index]["name"]
    return name


@pytest.fixture(scope="module")
def outcomes(environment: Callable[[str], str]) -> list[tuple[Hit, dict[str, Any]]]:
    """For each call, the request of the SDK and how it read the answer."""
    server = Loopback(lambda line: _answer(line, CALLS[line.number]["exchanges"][0]))
    program = Path(__file__).with_name("together_client.py")
    bodies = [each["exchanges"][0]["request"]["json"] for each in CALLS]
    try:
        printed = script(environment("together"), program, server.url, KEY, given=json.dumps(bodies))
    finally:
        server.close()
    return list(zip(server.hits, json.loads(printed), strict=True))


def _answer(line: Line, exchange: dict[str, Any]) -> None:
    """Answer as recorded, with the fields that the SDK requires and a recording may leave out."""
    response = exchange["response"]
    body = response["json"]
    if "results" in body:
        rows = [{"document": {}, **row} for row in body["results"]]
        body = {"object": "rerank", "model": exchange["request"]["json"]["model"], **body, "results": rows}
    line.answer(response["status"], body, response.get("headers"))


@pytest.mark.parametrize("index", ANSWERED, ids=title)
def test_sdk_sends_and_reads_what_is_recorded(index: int, outcomes: list[tuple[Hit, dict[str, Any]]]) -> None:
    (hit, read), call = outcomes[index], CALLS[index]
    assert (hit.method, hit.target, hit.headers["authorization"]) == ("POST", "/v1/rerank", f"Bearer {KEY}")
    assert hit.json == call["exchanges"][0]["request"]["json"]

    rows = sorted(read["results"], key=lambda row: -row["relevance_score"])
    expect = call["expect"]
    assert [(row["index"], row["relevance_score"]) for row in rows] == [
        (row["index"], row["relevance_score"]) for row in expect["results"]
    ]
    assert read["id"] == expect.get("id")
    if "billed_units" in expect["meta"]:
        assert read["usage"]["total_tokens"] == expect["meta"]["billed_units"]["total_tokens"]
        assert read["usage"]["prompt_tokens"] == expect["meta"]["tokens"]["input_tokens"]


@pytest.mark.parametrize("index", REFUSED, ids=title)
def test_sdk_raises_the_recorded_error(index: int, outcomes: list[tuple[Hit, dict[str, Any]]]) -> None:
    (_, read), error = outcomes[index], CALLS[index]["error"]
    assert read["status"] == error["status"]
    assert CLASSES[read["class"]] == error["class"]
    assert error["says"] in read["message"]


def test_base_url_variable_has_the_same_meaning(
    outcomes: list[tuple[Hit, dict[str, Any]]], sync_mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    hit, _ = outcomes[0]
    base = f"http://{hit.headers['host']}"
    monkeypatch.setenv("TOGETHER_BASE_URL", base)
    assert str(sent_by(sync_mode, "together_ai/any").url) == f"{base}{hit.target}"
