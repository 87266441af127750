from collections.abc import Iterator

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.testing import StubServer

ASK = {"model": "rerank", "query": "red planet", "documents": ["Venus", "Mars is the red planet"]}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def test_rerank_request_is_answered_by_the_vendor(vendor: StubServer) -> None:
    models = [entry("rerank", "cohere/rerank-v3.5", api_key="vendor-key", api_base=vendor.url)]
    with running(gateway_of(models)) as url:
        answer = httpx.post(f"{url}/rerank", json={**ASK, "top_n": 1}, headers=HEADERS)

    assert answer.status_code == 200
    assert [row["index"] for row in answer.json()["results"]] == [1]
    assert answer.json()["results"][0]["document"] == {"text": "Mars is the red planet"}
    assert vendor.requests[0].headers["authorization"] == "Bearer vendor-key"


@pytest.mark.parametrize("key", [None, "Bearer sk-wrong", "sk-wrong"])
def test_request_without_the_key_is_refused(key: str | None) -> None:
    with running(gateway_of()) as url:
        answer = httpx.post(f"{url}/rerank", json=ASK, headers={} if key is None else {"authorization": key})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["type"] == "authentication_error"
