"""Each recorded exchange: a request as a client sends it, and the answer that this client reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.gateway.dialects import dialects
from anyrerank.testing import Exchange, StubServer

EXCHANGES = sorted((Path(__file__).parent / "exchanges").glob("*.json"))
SCORES = {"Venus is hot": 0.25, "Mars is the red planet": 0.875, "Jupiter is large": 0.125}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}", "x-request-id": "request-1"}


def vendor_answer(exchange: Exchange) -> None:
    """What the vendor behind the gateway answers, in Cohere's dialect."""
    body = exchange.request.json
    rows = [{"index": index, "relevance_score": SCORES[text]} for index, text in enumerate(body["documents"])]
    rows.sort(key=lambda row: -float(row["relevance_score"]))
    meta = {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 40}}
    exchange.respond(200, {"id": "vendor-1", "results": rows[: body.get("top_n")], "meta": meta})


@contextmanager
def serving() -> Iterator[str]:
    """The URL of a gateway over a vendor with known scores."""
    with StubServer(handler=vendor_answer) as vendor:
        models = [entry("rerank", "cohere/rerank-v3.5", api_key="vendor-key", api_base=vendor.url)]
        with running(gateway_of(models)) as url:
            yield url


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


def recorded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def matches(found: Any, expected: Any) -> bool:
    """Whether they are equal; `"*"` stands for anything."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(matches(found[name], value) for name, value in expected.items())
        )
    return expected == "*" or bool(found == expected)


@pytest.mark.parametrize("path", EXCHANGES, ids=lambda path: path.stem)
def test_request_gets_the_recorded_answer(path: Path, url: str) -> None:
    exchange = recorded(path)
    request, expected = exchange["request"], exchange["answer"]
    answer = httpx.request(request["method"], f"{url}{request['path']}", json=request.get("json"), headers=HEADERS)

    assert answer.status_code == expected["status"]
    assert matches(answer.json(), expected["json"]), answer.json()


@pytest.mark.parametrize("dialect", dialects(), ids=lambda dialect: dialect.name)
def test_every_dialect_has_a_recorded_exchange(dialect: Any) -> None:
    path = Path(__file__).parent / "exchanges" / f"{dialect.name}.json"
    assert path.exists(), f"record one in tests/gateway/exchanges/{path.name}"
    exchange = recorded(path)
    assert exchange["dialect"] == dialect.name
    assert exchange["client"]
    assert exchange["source"]


def test_every_exchange_is_in_a_dialect() -> None:
    assert {recorded(path)["dialect"] for path in EXCHANGES} == {dialect.name for dialect in dialects()}
