"""What the health of a gateway says about deployments that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.testing import StubServer

HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.mark.parametrize(
    ("entry_of", "reason"),
    [
        (lambda url: {"api_key": "", "api_base": url}, "AuthenticationError: no API key for Cohere"),
        (lambda url: {"api_key": "k", "api_base": url}, "AuthenticationError: cohere/rerank-v3.5 refused the key"),
        (lambda _: {"api_key": "k", "api_base": "http://127.0.0.1:9"}, "cohere/rerank-v3.5 cannot be reached"),
    ],
)
def test_health_says_how_a_deployment_failed(
    vendor: StubServer, monkeypatch: pytest.MonkeyPatch, entry_of: Callable[[str], dict[str, str]], reason: str
) -> None:
    for name in ("COHERE_API_KEY", "CO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    vendor.fail(401)
    params = {name: value for name, value in entry_of(vendor.url).items() if value}
    models = [entry("rerank", "cohere/rerank-v3.5", **params)]
    with running(gateway_of(models, num_retries=0, allowed_fails=0)) as url:
        deep = httpx.get(f"{url}/health?deep=true", headers=HEADERS).json()
        plain = httpx.get(f"{url}/health", headers=HEADERS).json()
    for answer in (deep, plain):
        (found,) = answer["unhealthy_endpoints"]
        assert reason in found["error"]
        assert "127.0.0.1" not in found["error"]


def test_deep_health_says_how_a_model_failed_that_does_not_cool_down(vendor: StubServer) -> None:
    vendor.fail(500, body={"message": "the vendor is tired"})
    with running(
        gateway_of(
            [entry("rerank", "cohere/rerank-v3.5", api_key="k", api_base=vendor.url)], num_retries=1, allowed_fails=99
        )
    ) as url:
        answer = httpx.get(f"{url}/health?deep=true", headers=HEADERS).json()
    assert answer["unhealthy_endpoints"][0]["error"].startswith("InternalServerError: ")
