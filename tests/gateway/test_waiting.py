import httpx
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.testing import StubServer

ASK = {"model": "rerank", "query": "red planet", "documents": ["Venus", "Mars"]}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


def test_model_that_cools_down_longer_than_a_request_may_wait_is_unavailable_at_once() -> None:
    with StubServer() as vendor:
        vendor.fail(429, headers={"retry-after": "30"})
        models = [entry("rerank", "cohere/rerank-v3.5", api_key="k", api_base=vendor.url)]
        with running(gateway_of(models, max_wait=1.0)) as url:
            refused = httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)
            unavailable = httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)

    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_exceeded")
    assert (unavailable.status_code, unavailable.json()["error"]["type"]) == (503, "unavailable")
    assert 28 <= int(unavailable.headers["retry-after"]) <= 30
    assert len(vendor.requests) == 1
