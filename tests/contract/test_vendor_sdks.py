"""The SDKs of Cohere and Voyage send the recorded requests and read the recorded answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cohere
import httpx
import pytest
from cohere.core.api_error import ApiError
from cohere.environment import ClientEnvironment
from tests.support.harness import KEY, case, recording
from tests.support.loopback import Hit, Line, Loopback
from voyageai import error as voyage
from voyageai.api_resources.api_requestor import _thread_context
from voyageai.client import Client as VoyageClient
from voyageai.util import get_default_base_url

import anyrerank

Serve = Callable[..., Loopback]

COHERE_CLASSES = {
    cohere.UnauthorizedError: "AuthenticationError",
    cohere.InvalidTokenError: "AuthenticationError",
    cohere.ForbiddenError: "PermissionDeniedError",
    cohere.NotFoundError: "NotFoundError",
    cohere.TooManyRequestsError: "RateLimitError",
    cohere.ClientClosedRequestError: "InternalServerError",
    cohere.UnprocessableEntityError: "BadRequestError",
}
VOYAGE_CLASSES = {
    voyage.AuthenticationError: "AuthenticationError",
    voyage.InvalidRequestError: "BadRequestError",
    voyage.RateLimitError: "RateLimitError",
    voyage.ServiceUnavailableError: "InternalServerError",
    voyage.APIError: "PermissionDeniedError",  # the SDK has no class of its own for it
}


def calls(name: str, outcome: str) -> list[Any]:
    """The recorded calls of a provider that send one request with every document and have this outcome."""
    return [
        pytest.param(each, id=each["name"])
        for each in recording(name)["cases"]
        if outcome in each
        and len(each["exchanges"]) == 1
        and (200 if outcome == "expect" else 400) <= each["exchanges"][0]["response"].get("status", 0)
        and len(each["exchanges"][0]["request"]["json"]["documents"]) == len(each["call"]["documents"])
    ]


def answering(response: dict[str, Any], **changed: Any) -> Callable[[Line], None]:
    """Answers as recorded, with some fields of the body changed."""
    body = response["text"] if "text" in response else {**response["json"], **changed}
    return lambda line: line.answer(response["status"], body, response.get("headers"))


def ranked(rows: Iterable[Any]) -> list[tuple[int, float]]:
    """The results of an SDK, best first."""
    return sorted(((row.index, row.relevance_score) for row in rows), key=lambda pair: -pair[1])


def expected(recorded: dict[str, Any]) -> list[tuple[int, float]]:
    return [(row["index"], row["relevance_score"]) for row in recorded["expect"]["results"]]


def ask_cohere(recorded: dict[str, Any], server: Loopback) -> Any:
    """Send the recorded body with the SDK for the version in the recorded URL."""
    request = recorded["exchanges"][0]["request"]
    kind = cohere.Client if version(recorded) == 1 else cohere.ClientV2
    with httpx.Client() as http:
        client = kind(api_key=KEY, base_url=server.url, httpx_client=http, max_retries=0)
        return client.rerank(**request["json"])


def version(recorded: dict[str, Any]) -> int:
    return 1 if recorded["exchanges"][0]["request"]["url"].endswith("/v1/rerank") else 2


def only(server: Loopback) -> Hit:
    (hit,) = server.hits
    assert (hit.method, hit.headers["authorization"]) == ("POST", f"Bearer {KEY}")
    assert hit.headers["content-type"] == "application/json"
    return hit


@pytest.mark.parametrize("recorded", calls("cohere", "expect"))
def test_cohere_sends_and_reads_what_is_recorded(recorded: dict[str, Any], serve: Serve) -> None:
    exchange, expect = recorded["exchanges"][0], recorded["expect"]
    server = serve(answering(exchange["response"]))
    answer = ask_cohere(recorded, server)
    hit = only(server)
    assert hit.target == f"/v{version(recorded)}/rerank"
    assert hit.json == exchange["request"]["json"]

    assert ranked(answer.results) == expected(recorded)
    assert answer.id == expect.get("id")
    read = answer.meta.model_dump(exclude_none=True) if answer.meta else {}
    for group, numbers in expect["meta"].items():
        assert read[group] == numbers
    type(answer).model_validate(exchange["response"]["json"])  # the SDK does not check types itself


@pytest.mark.parametrize("recorded", calls("cohere", "error"))
def test_cohere_raises_the_recorded_error(recorded: dict[str, Any], serve: Serve) -> None:
    response, error = recorded["exchanges"][0]["response"], recorded["error"]
    with pytest.raises(ApiError) as caught:
        ask_cohere(recorded, serve(answering(response)))
    assert caught.value.status_code == error["status"]
    if "json" in response:
        assert COHERE_CLASSES[type(caught.value)] == error["class"]
        assert error["says"] in caught.value.body["message"]


@pytest.fixture
def _close_voyage_session() -> Iterator[None]:
    """The SDK caches a connection for each thread."""
    yield
    vars(_thread_context).pop("session").close()


def ask_voyage(recorded: dict[str, Any], server: Loopback) -> Any:
    body, unknown = recorded["exchanges"][0]["request"]["json"], recorded["call"].get("extra_body", {})
    client = VoyageClient(api_key=KEY, base_url=f"{server.url}/v1")
    return client.rerank(**{name: value for name, value in body.items() if name not in unknown})


@pytest.mark.usefixtures("_close_voyage_session")
@pytest.mark.parametrize("recorded", calls("voyage", "expect"))
def test_voyage_sends_and_reads_what_is_recorded(recorded: dict[str, Any], serve: Serve) -> None:
    exchange, expect = recorded["exchanges"][0], recorded["expect"]
    # the SDK cannot read an answer without usage, which the recordings may leave out
    usage = exchange["response"]["json"].get("usage") or {"total_tokens": 5}
    server = serve(answering(exchange["response"], usage=usage))
    answer = ask_voyage(recorded, server)
    hit = only(server)
    assert hit.target == "/v1/rerank"
    assert hit.json == {"top_k": None, "truncation": True, **exchange["request"]["json"]}

    assert ranked(answer.results) == expected(recorded)
    if "billed_units" in expect["meta"]:
        assert answer.total_tokens == expect["meta"]["billed_units"]["total_tokens"]


@pytest.mark.usefixtures("_close_voyage_session")
@pytest.mark.parametrize("recorded", calls("voyage", "error"))
def test_voyage_raises_the_recorded_error(recorded: dict[str, Any], serve: Serve) -> None:
    response, error = recorded["exchanges"][0]["response"], recorded["error"]
    with pytest.raises(voyage.VoyageError) as caught:
        ask_voyage(recorded, serve(answering(response)))
    assert caught.value.http_status == error["status"]
    assert VOYAGE_CLASSES[type(caught.value)] == error["class"]
    assert error["says"] in f"{caught.value.user_message} {caught.value.http_body}"
    assert caught.value.request_id == error.get("request_id")


@pytest.mark.parametrize(
    ("name", "title", "base"),
    [
        ("cohere", "v2", ClientEnvironment.PRODUCTION.value),
        ("voyage", "rerank_2_5", get_default_base_url("pa-key")),
        ("voyage", "atlas_key", get_default_base_url("al-key")),
    ],
)
def test_recorded_url_is_the_one_of_the_sdk(name: str, title: str, base: str) -> None:
    (exchange,) = case(name, title)["exchanges"]
    assert exchange["request"]["url"].startswith(f"{base}/")


@pytest.mark.parametrize(("name", "minimum"), [("cohere", 15), ("voyage", 10)])
def test_enough_calls_are_recorded(name: str, minimum: int) -> None:
    assert len(calls(name, "expect")) >= minimum
    assert len(calls(name, "error")) >= 5
    assert all(hasattr(anyrerank, each.values[0]["error"]["class"]) for each in calls(name, "error"))
