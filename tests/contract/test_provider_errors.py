"""How every provider reports an error response: its class, message, request id and waiting time, and no secret."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from tests.contract.provider_dialect import DOCUMENTS, QUERY, Dialect, each_http_provider
from tests.support.harness import KEY, Mode, answering, leaks

import anyrerank
from anyrerank._core.runtime import HttpResponse
from anyrerank._core.types import RerankRequest
from anyrerank.errors import public_url

STATUSES = {
    "AuthenticationError": (401, 498),
    "PermissionDeniedError": (402, 403),
    "NotFoundError": (404, 410),
    "BadRequestError": (400, 405, 409, 412, 413, 415, 418, 422, 425, 451),
    "APITimeoutError": (408, 504),
    "RateLimitError": (429,),
    "InternalServerError": (424, 499, 500, 501, 502, 503, 529, 599),
    "APIResponseValidationError": (301, 302, 307, 308),
}
MESSAGES: dict[str, Any] = {
    "error.message": {"error": {"message": "says why", "type": "x"}, "message": "no"},
    "error": {"error": "says why", "message": "no"},
    "detail.error": {"detail": {"error": "says why"}},
    "detail": {"detail": "says why", "title": "no"},
    "validation list": {"detail": [{"loc": ["body", "q"], "msg": "says why"}], "message": "no"},
    "message": {"message": "says why", "title": "no"},
    "title": {"title": "says why"},
    "text": "says why",
}


@each_http_provider
@pytest.mark.parametrize(
    ("status", "expected"), [(status, kind) for kind, statuses in STATUSES.items() for status in statuses]
)
def test_status_decides_the_class(name: str, status: int, expected: str, mode: Mode) -> None:
    dialect = Dialect(name)
    headers = {"x-request-id": "rq-1", "retry-after": "3"}
    error = dialect.error(mode, {"message": "not today"}, status, headers)
    assert type(error) is getattr(anyrerank, dialect.recorded["statuses"].get(str(status), expected))
    assert (error.status_code, error.request_id, error.retry_after) == (status, "rq-1", 3.0)
    assert (error.provider, f"{error.provider}/{error.model}") == (name, dialect.model)
    assert error.url == public_url(dialect.exchanges[0]["request"]["url"])
    assert status < 400 or "not today" in error.message


@each_http_provider
@pytest.mark.parametrize("location", ["https://ann:secret-7Hq2@elsewhere.example/v1", "/v2/rerank", ""])
def test_redirect_names_no_more_than_the_host(name: str, location: str, sync_mode: Mode) -> None:
    error = Dialect(name).error(sync_mode, "", 302, {"location": location})
    assert type(error) is anyrerank.APIResponseValidationError
    assert "secret" not in error.message
    assert ("elsewhere.example" in error.message) == ("elsewhere.example" in location)


@each_http_provider
def test_malformed_redirect_raises_validation_error(name: str) -> None:
    response = HttpResponse(status=302, headers={"location": "http://[::1"})
    with pytest.raises(anyrerank.APIResponseValidationError):
        Dialect(name).provider().read(RerankRequest(query=QUERY, documents=DOCUMENTS), response)


@each_http_provider
@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        ("retry-after", "7", 7),
        ("retry-after", "0.5", 0.5),
        ("retry-after-ms", "1500", 1.5),
        ("x-ratelimit-reset", "4", 4),
        ("retry-after", "-3", 0),
        ("retry-after", "soon", None),
        ("retry-after", "nan", None),
    ],
)
def test_retry_after_is_read(name: str, header: str, value: str, seconds: float | None, mode: Mode) -> None:
    assert Dialect(name).error(mode, {}, 429, {header: value}).retry_after == seconds


@each_http_provider
def test_retry_after_is_read_as_a_date(name: str, mode: Mode) -> None:
    replay = answering({}, 429)
    dialect = Dialect(name)

    def answer(request: httpx.Request) -> httpx.Response:
        replay.exchanges[0]["response"]["headers"] = {"retry-after": formatdate(time.time() + 90, usegmt=True)}
        return replay(request)

    client = mode.client(transport=httpx.MockTransport(answer))
    with pytest.raises(anyrerank.RateLimitError) as caught:
        mode.rerank(mode.reranker(dialect.model, **{**dialect.arguments, "http_client": client}), QUERY, DOCUMENTS)
    assert caught.value.retry_after == pytest.approx(90, abs=5)


@each_http_provider
@pytest.mark.parametrize("body", list(MESSAGES.values()), ids=list(MESSAGES))
def test_message_of_the_provider_is_shown(name: str, body: Any, mode: Mode) -> None:
    message = Dialect(name).error(mode, body, 400).message
    assert "says why" in message
    assert "no" not in message.replace("says why", "").split()


@each_http_provider
@pytest.mark.parametrize("status", [401, 403, 400, 500])
def test_error_shows_no_key(name: str, status: int, mode: Mode) -> None:
    error = Dialect(name).error(mode, {"message": f"key {KEY} is wrong", "detail": [KEY]}, status)
    assert not leaks(error, [KEY])


@each_http_provider
def test_error_shows_no_query_string_of_the_base_url(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    base = dialect.recorded["bases"]["plain"]["base"] + "/v1?token=s3cr3t-token"
    error = dialect.error(mode, {"message": "no"}, 404, api_base=base)
    assert not leaks(error, ["s3cr3t-token"])


@each_http_provider
@pytest.mark.parametrize(
    ("page", "shown"),
    [
        (
            "<html><head><title>502 Bad\nGateway</title></head><body>nginx/1.18.0</body></html>",
            "an HTML page: 502 Bad Gateway",
        ),
        ("<!DOCTYPE html><html><body>nginx</body></html>", "an HTML page"),
    ],
)
def test_page_of_a_proxy_is_shown_by_its_title(name: str, page: str, shown: str, mode: Mode) -> None:
    error = Dialect(name).error(mode, page, 502)
    assert shown in error.message
    assert "nginx" not in error.message
    assert "<" not in error.message
