"""Requests that clients get wrong, or make wrong on purpose. After each the gateway must serve the next call."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running
from tests.support.sockets import raw, request

from anyrerank.testing import StubServer

SECRET = "kumquat"
ASK: dict[str, Any] = {"model": "rerank", "query": SECRET, "documents": ["Venus", f"Mars {SECRET}"]}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


def encoded(**changes: Any) -> bytes:
    return json.dumps({**ASK, **changes}).encode()


BAD = {
    "empty body": (400, b""),
    "cut JSON": (400, encoded()[:-3]),
    "a list": (400, b"[1, 2]"),
    "a string": (400, b'"kumquat"'),
    "null": (400, b"null"),
    "not UTF-8": (400, encoded().replace(b"Venus", b"V\xff\xfenus")),
    "UTF-16": (400, encoded().decode().encode("utf-16")),
    "a number that is not one": (400, encoded(top_n=1).replace(b"1", b"NaN")),
    "100,000 levels": (400, b'{"query": "a", "documents": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "100,000 levels of a surrogate": (400, b'{"a": "\\ud800", "b": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001),
    "no query": (400, encoded(query=None)),
    "blank query": (400, encoded(query="  ")),
    "query of a wrong type": (400, encoded(query=[SECRET])),
    "no documents": (400, encoded(documents=None)),
    "documents in a string": (400, encoded(documents=SECRET)),
    "a number among the documents": (400, encoded(documents=[SECRET, 7])),
    "null among the documents": (400, encoded(documents=[SECRET, None])),
    "top_n of 0": (400, encoded(top_n=0)),
    "top_n of -1": (400, encoded(top_n=-1)),
    "top_n that is a word": (400, encoded(top_n=SECRET)),
    "top_n that is huge": (400, encoded().replace(b"{", b'{"top_n": -1' + b"0" * 5000 + b", ", 1)),
    "top_n of 5,000 digits in a string": (400, encoded(top_n="1" * 5000)),
    "model of a wrong type": (400, encoded(model=7)),
    "unknown model": (400, encoded(model="no-such-model")),
    "model that climbs": (400, encoded(model="../../etc/passwd")),
    "model with a line end": (400, encoded(model="rerank\r\nx-injected: 1")),
    "model of 1 MB": (400, encoded(model="a" * 2**20)),
    "timeout below 0": (400, encoded(timeout=-1)),
    "100,000 documents": (413, encoded(documents=["a"] * 100_000)),
    "20 MB": (413, encoded(documents=["a" * 20 * 2**20])),
}


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def url(vendor: StubServer) -> Iterator[str]:
    models = [entry("rerank", "cohere/rerank-v3.5", api_key="vendor-key-3f9", api_base=vendor.url)]
    with running(gateway_of(models, num_retries=0, cooldown_time=0)) as url:
        yield url


@pytest.mark.parametrize("case", BAD)
def test_bad_body_is_refused_and_the_next_call_is_served(
    case: str, url: str, vendor: StubServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    status, body = BAD[case]
    answer = httpx.post(f"{url}/rerank", content=body, headers=HEADERS)
    sent = len(vendor.requests)
    served = httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)

    assert answer.status_code == status
    assert answer.json()["error"]["message"] == answer.json()["message"]
    assert len(answer.json()["message"]) < 300
    assert SECRET not in answer.text
    assert SECRET not in caplog.text
    assert "x-injected" not in answer.headers
    assert sent == 0
    assert served.status_code == 200


@pytest.mark.parametrize(
    "content_type", ["application/xml", "text/xml; charset=utf-8", "multipart/form-data; boundary=a"]
)
def test_other_media_types_are_refused(content_type: str, url: str) -> None:
    answer = httpx.post(f"{url}/rerank", content=b"<a/>", headers={**HEADERS, "content-type": content_type})

    assert answer.status_code == 415


@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded", "text/plain", "nonsense"])
def test_json_is_read_under_any_other_type(content_type: str | None, url: str) -> None:
    headers = HEADERS if content_type is None else {**HEADERS, "content-type": content_type}

    assert httpx.post(f"{url}/rerank", content=encoded(), headers=headers).status_code == 200


SURROGATE = b'{"query": "a \\ud83d", "documents": ["b \\udc00", "a"]}'


def test_half_of_a_surrogate_pair_is_replaced_for_the_provider(url: str, vendor: StubServer) -> None:
    answer = httpx.post(f"{url}/rerank", content=SURROGATE, headers=HEADERS)

    assert answer.status_code == 200
    assert vendor.requests[0].documents == ["b \N{REPLACEMENT CHARACTER}", "a"]


def test_half_of_a_surrogate_pair_comes_back_as_it_was() -> None:
    with running(gateway_of()) as url:
        answer = httpx.post(f"{url}/rerank", content=SURROGATE, headers=HEADERS)

    assert {row["document"]["text"] for row in answer.json()["results"]} == {"b \udc00", "a"}


@pytest.mark.parametrize(
    "line",
    ["X-Request-Id: a\tb", f"X-Request-Id: {'a' * 129}", "X-Request-Id: \xe9", "X-Litellm-End-User-Id: \xff\xfe"],
)
def test_strange_headers_are_not_echoed(line: str, url: str) -> None:
    answer = raw(url, request(f"Authorization: Bearer {MASTER_KEY}", line))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert line.partition(": ")[2].encode("latin-1") not in answer


def test_names_of_ignored_fields_cannot_end_a_header_line(url: str) -> None:
    answer = httpx.post(f"{url}/rerank", json={**ASK, "a\r\nx-injected: 1": 1, "plain": 2}, headers=HEADERS)

    assert answer.status_code == 200
    assert "x-injected" not in answer.headers
    assert "plain" in answer.headers["x-anyrerank-ignored"]


@pytest.mark.parametrize("path", ["/tei/..%2f..%2fetc/rerank", "/tei/%00/rerank", "/tei/a%0d%0ab/rerank"])
def test_model_in_the_path_is_only_a_name(path: str, url: str) -> None:
    body = json.dumps({"query": SECRET, "texts": ["a"]}).encode()
    answer = raw(url, request(f"Authorization: Bearer {MASTER_KEY}", start=f"POST {path} HTTP/1.1", body=body))

    assert answer.startswith(b"HTTP/1.1 404 ")
