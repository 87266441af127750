"""What a client of the gateway learns about a failure of the vendor."""

import httpx
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    FallbackError,
    GuardrailRaisedError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RerankError,
    UnknownPriceError,
)
from anyrerank.gateway.errors import STATUSES, gateway_error

ASK = {"model": "rerank", "query": "red planet", "documents": ["Venus", "Mars"]}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequestError("m"), 400),
        (BadRequestError("m", status_code=422), 400),
        (BadRequestError("m", status_code=413, too_large=True), 413),
        (GuardrailRaisedError("m"), 400),
        (UnknownPriceError("m"), 400),
        (AuthenticationError("m"), 503),
        (AuthenticationError("m", status_code=401), 502),
        (PermissionDeniedError("m", status_code=403), 502),
        (NotFoundError("m", status_code=404), 502),
        (RateLimitError("m"), 503),
        (RateLimitError("m", status_code=429), 429),
        (BudgetExceededError("m"), 429),
        (APITimeoutError("m"), 504),
        (APIConnectionError("m"), 502),
        (InternalServerError("m", status_code=500), 502),
        (APIResponseValidationError("m", status_code=200), 502),
        (ConfigurationError("m"), 503),
        (FallbackError("m", errors=(InternalServerError("m", status_code=500), APITimeoutError("m"))), 504),
    ],
)
def test_status_says_whose_mistake_it_is(error: RerankError, status: int) -> None:
    assert STATUSES[gateway_error(error).kind] == status


def test_client_does_not_learn_where_the_vendor_is() -> None:
    models = [entry("rerank", "cohere/rerank-v3.5", api_key="k", api_base="http://127.0.0.1:1")]
    with running(gateway_of(models, num_retries=0)) as url:
        answer = httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)

    assert answer.status_code == 502
    assert answer.json()["error"]["message"] == "cohere/rerank-v3.5 cannot be reached"


def test_several_errors_are_all_named_once() -> None:
    errors = tuple(
        APIConnectionError("refused (10.0.0.1)", provider=provider, model="m") for provider in ("a", "a", "b")
    )

    assert gateway_error(FallbackError("m", errors=errors)).message == "a/m cannot be reached; b/m cannot be reached"


@pytest.mark.parametrize("kind", [AuthenticationError, PermissionDeniedError])
def test_client_does_not_learn_what_the_vendor_says_about_the_account(kind: type[RerankError]) -> None:
    error = kind("the key ...1234 of acme@example.com is not valid", provider="a", model="m", status_code=403)
    assert gateway_error(error).message == "a/m refused the key of the gateway"
