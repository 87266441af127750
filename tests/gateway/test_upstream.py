"""Providers that hang, lie, redirect or flood, and clients that go away."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running
from tests.support.loopback import Line, Loopback
from tests.support.sockets import connected, request

ASK: dict[str, Any] = {"model": "rerank", "query": "red kumquat", "documents": ["Venus", "Mars is red"]}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}
VENDOR_KEY = "vendor-key-3f9"


def flood(line: Line) -> None:
    """200 MB that are never a complete answer."""
    line.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 209715200\r\n\r\n")
    for _ in range(200):
        line.send(b" " * 2**20)


def hang(line: Line) -> None:
    line.client_left()


def redirect(line: Line) -> None:
    line.answer(307, b"", {"location": "http://127.0.0.1:9/elsewhere"})


def results(*rows: object) -> Any:
    return lambda line: line.answer(body={"id": "x", "results": list(rows)})


def quoting(status: int) -> Any:
    """An error that repeats what it was sent."""
    return lambda line: line.answer(
        status, {"message": f"bad: {line.hit.body.decode()} with {line.hit.headers['authorization']}"}
    )


BAD = {
    "hangs": (408, hang),
    "hangs up": (502, lambda line: line.hang_up()),
    "resets": (502, lambda line: line.reset()),
    "is no HTTP": (502, lambda line: (line.send(b"\x00\x01\x02 garbage\r\n\r\n"), line.hang_up())),
    "answers HTML": (502, lambda line: line.answer(200, b"<html>kumquat</html>")),
    "answers nothing": (502, lambda line: line.answer(200, b"")),
    "redirects": (502, redirect),
    "floods": (502, flood),
    "invents documents": (502, results({"index": 7, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.5})),
    "repeats a document": (502, results(*[{"index": 0, "relevance_score": 0.5}] * 2)),
    "has no scores": (502, results({"index": 0}, {"index": 1})),
    "has scores that are no numbers": (502, results(*({"index": n, "relevance_score": "kumquat"} for n in (0, 1)))),
    "refuses our key": (502, quoting(401)),
    "forbids": (502, quoting(403)),
    "fails": (502, quoting(500)),
    "is overloaded": (429, quoting(429)),
    "refuses the request": (400, quoting(400)),
}


@pytest.fixture
def vendor() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def models(vendor: Loopback) -> list[dict[str, Any]]:
    return [entry("rerank", "cohere/rerank-v3.5", api_key=VENDOR_KEY, api_base=vendor.url)]


@pytest.mark.parametrize("case", BAD)
def test_bad_answer_is_an_error_without_secrets(case: str, vendor: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "anyrerank")
    status, script = BAD[case]
    well, vendor.script = vendor.script, script
    with running(gateway_of(models(vendor), num_retries=0, timeout=0.5, allowed_fails=1000, cooldown_time=0)) as url:
        answer = httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)
        vendor.script = well
        served = httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)

    assert answer.status_code == status
    assert answer.json()["message"]
    for secret in ("kumquat", VENDOR_KEY, MASTER_KEY, "Traceback"):
        assert secret not in answer.text
        assert secret not in caplog.text
    assert served.status_code == 200


def test_error_of_a_provider_is_in_the_words_of_the_client(vendor: Loopback) -> None:
    vendor.script = quoting(500)
    with running(gateway_of(models(vendor), num_retries=0)) as url:
        answer = httpx.post(f"{url}/tei/rerank/rerank", json={"query": "a", "texts": ["b"]}, headers=HEADERS)

    assert set(answer.json()) == {"error", "error_type"}


def test_client_that_goes_away_cancels_the_call_of_the_provider(vendor: Loopback) -> None:
    vendor.script = hang
    spare = entry("spare", "cohere/rerank-v3.5", api_key=VENDOR_KEY, api_base=vendor.url)
    gateway = gateway_of([*models(vendor), spare], fallbacks=[{"rerank": ["spare"]}], num_retries=3)
    with running(gateway) as url:
        with connected(url) as connection:
            connection.sendall(request(f"Authorization: Bearer {MASTER_KEY}"))
            assert vendor.wait_for_requests(1)
        assert vendor.abandoned.wait(10)
        while "anyrerank_client_gone_total 1.0" not in (text := httpx.get(f"{url}/metrics").text):
            pass

    assert "anyrerank_in_flight 0.0" in text
    assert len(vendor.hits) == 1
    assert 'status="499"' in text
