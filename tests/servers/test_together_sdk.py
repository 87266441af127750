"""Together's own SDK, whose dependencies do not fit beside ours, reads and sends what is recorded of Together."""

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
"""Ours for each of the SDK's. It has none for 402, and takes the 403 of an input that is too long by its number."""

CALLS = [each for each in recording("together_ai")["cases"] if each["exchanges"]]
ANSWERED = [place for place, each in enumerate(CALLS) if "expect" in each]
REFUSED = [place for place, each in enumerate(CALLS) if "error" in each]


def title(place: int) -> str:
    name: str = CALLS[place]["name"]
    return name


@pytest.fixture(scope="module")
def outcomes(environment: Callable[[str], str]) -> list[tuple[Hit, dict[str, Any]]]:
    """For each call what the SDK sent, and what it made of the answer."""
    server = Loopback(lambda line: _answer(line, CALLS[line.number]["exchanges"][0]))
    program = Path(__file__).with_name("together_client.py")
    bodies = [each["exchanges"][0]["request"]["json"] for each in CALLS]
    try:
        printed = script(environment("together"), program, server.url, KEY, given=json.dumps(bodies))
    finally:
        server.close()
    return list(zip(server.hits, json.loads(printed), strict=True))


def _answer(line: Line, exchange: dict[str, Any]) -> None:
    """As recorded, with what the SDK needs and a recording may leave out."""
    response = exchange["response"]
    body = response["json"]
    if "results" in body:
        rows = [{"document": {}, **row} for row in body["results"]]
        body = {"object": "rerank", "model": exchange["request"]["json"]["model"], **body, "results": rows}
    line.answer(response["status"], body, response.get("headers"))


@pytest.mark.parametrize("place", ANSWERED, ids=title)
def test_together(place: int, outcomes: list[tuple[Hit, dict[str, Any]]]) -> None:
    (hit, read), call = outcomes[place], CALLS[place]
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


@pytest.mark.parametrize("place", REFUSED, ids=title)
def test_together_refuses(place: int, outcomes: list[tuple[Hit, dict[str, Any]]]) -> None:
    (_, read), error = outcomes[place], CALLS[place]["error"]
    assert read["status"] == error["status"]
    assert CLASSES[read["class"]] == error["class"]
    assert error["says"] in read["message"]


def test_its_variable_for_the_base_url_means_the_same(
    outcomes: list[tuple[Hit, dict[str, Any]]], sync_mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    hit, _ = outcomes[0]
    base = f"http://{hit.headers['host']}"
    monkeypatch.setenv("TOGETHER_BASE_URL", base)
    assert str(sent_by(sync_mode, "together_ai/any").url) == f"{base}{hit.target}"
