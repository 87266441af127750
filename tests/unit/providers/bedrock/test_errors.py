"""Errors of AWS Bedrock, before and after anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.parsers
import botocore.session
import httpx
import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering, leaks
from tests.unit.providers.bedrock.signed import MODEL, PAIR, REGION, ROWS, SECRET, SIGNED, data, rerank, sent

import anyrerank
from anyrerank import (
    AuthenticationError,
    BadRequestError,
    RerankError,
)
from anyrerank._core.engine import connect
from anyrerank._core.types import RerankRequest


@pytest.mark.parametrize("bearer", [False, True])
def test_text_of_more_than_32000_characters_raises_before_sending(bearer: bool, mode: Mode) -> None:
    key = {"api_key": KEY} if bearer else {}
    assert sent(mode, ["x" * 32_000], **key).content.count(b"x") >= 32_000
    replay = Replay([])
    documents = ["", "short", "x" * 32_001]
    with pytest.raises(BadRequestError, match=r"documents\[2\] has more than the 32,000 characters") as caught:
        rerank(mode, replay, documents, **key)
    assert not leaks(caught.value, ["x" * 20])
    reranker = mode.reranker(MODEL, **{**SIGNED, **key}, http_client=replay.client(mode))
    with pytest.raises(BadRequestError, match=r"the query has more than the 32,000 characters"):
        mode.rerank(reranker, "q" * 32_001, DOCUMENTS)
    assert replay.seen == []


def test_length_limit_of_a_mapping_applies_to_the_text_sent(mode: Mode) -> None:
    long = {"text": "x" * 32_001, "title": "short"}
    assert json.loads(sent(mode, [long]).content)["sources"] == [data(long)]
    with pytest.raises(BadRequestError, match=r"documents\[0\] has more than"):
        sent(mode, [long], api_key=KEY)
    body = json.loads(sent(mode, [long], api_key=KEY, rank_fields=["title"]).content)
    assert body["documents"] == ["title: short\n"]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ValidationException", 400, "BadRequestError"),
        ("ServiceQuotaExceededException", 400, "RateLimitError"),
        ("AccessDeniedException", 403, "PermissionDeniedError"),
        ("UnrecognizedClientException", 403, "AuthenticationError"),
        ("InvalidSignatureException", 403, "AuthenticationError"),
        ("ExpiredTokenException", 403, "AuthenticationError"),
        ("ExpiredTokenException", 400, "AuthenticationError"),
        ("MissingAuthenticationTokenException", 403, "AuthenticationError"),
        ("IncompleteSignatureException", 403, "AuthenticationError"),
        ("IncompleteSignatureException", 400, "AuthenticationError"),
        ("UnrecognizedClientException", 401, "AuthenticationError"),
        ("ResourceNotFoundException", 404, "NotFoundError"),
        ("ConflictException", 409, "InternalServerError"),
        ("DependencyFailedException", 424, "InternalServerError"),
        ("ThrottlingException", 429, "RateLimitError"),
        ("InternalServerException", 500, "InternalServerError"),
        ("BadGatewayException", 502, "InternalServerError"),
        ("SomethingNewException", 418, "BadRequestError"),
    ],
)
@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("{}", {"message": "says why"}),
        ("{}:http://internal.amazon.com/coral/com.amazon.bedrock/", {"Message": "says why"}),
        (None, {"__type": "{}", "message": "says why"}),
        (None, {"__type": "com.amazon.coral.service#{}", "Message": "says why"}),
        (None, {"code": "{}", "message": "says why", "reason": "x", "resourceName": "y"}),
    ],
    ids=["header", "header with an address", "type", "type with a name space", "code"],
)
def test_error_code_decides_the_class(
    *, code: str, status: int, kind: str, header: str | None, body: Mapping[str, str], sync_mode: Mode
) -> None:
    headers = {"x-amzn-requestid": "rq-9"}
    if header:
        headers["x-amzn-errortype"] = header.format(code)
    filled = {name: value.format(code) for name, value in body.items()}
    for key in (None, KEY):
        with pytest.raises(RerankError) as caught:
            rerank(sync_mode, answering(filled, status, headers), api_key=key)
        assert type(caught.value) is getattr(anyrerank, kind)
        assert (caught.value.status_code, caught.value.request_id) == (status, "rq-9")
        assert caught.value.message.endswith(f"answered {status}: says why")

    raw = {"status_code": status, "headers": headers, "body": json.dumps(filled).encode()}
    parsed = botocore.parsers.create_parser("rest-json").parse(raw, None)
    assert parsed["Error"] == {"Code": code, "Message": "says why"}


@pytest.mark.parametrize("text", ["", "<html><body>Bad Gateway</body></html>", "null", "[]", '"x"', '{"__type": 7}'])
def test_error_without_a_code_has_the_class_of_its_status(text: str, mode: Mode) -> None:
    with pytest.raises(anyrerank.InternalServerError) as caught:
        rerank(mode, answering(text, 503))
    assert caught.value.status_code == 503


@pytest.mark.parametrize("length", [40, 900])
def test_signature_error_that_quotes_the_headers_is_withheld(length: int, mode: Mode) -> None:
    token = "".join(f"{index:03x}-" for index in range(length))[:length]

    def answer(request: httpx.Request) -> httpx.Response:
        signed = "\n".join(f"{name}:{value}" for name, value in request.headers.items() if name.startswith("x-amz"))
        message = f"The canonical string should have been 'POST\n/rerank\n\n{signed}' and {SECRET} is wrong"
        return httpx.Response(403, json={"message": message}, headers={"x-amzn-errortype": "InvalidSignatureException"})

    client = mode.client(transport=httpx.MockTransport(answer))
    reranker = mode.reranker(MODEL, **SIGNED, aws_session_token=token, http_client=client)
    with pytest.raises(AuthenticationError, match=r"403: InvalidSignatureException: .*withheld") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert not leaks(caught.value, [SECRET, token, token[:24], token[24:48]])


def test_reprs_and_responses_hold_no_secret(mode: Mode) -> None:
    token = "t0ken-of-a-session"
    reranker = mode.reranker(MODEL, **SIGNED, aws_session_token=token)
    provider = connect(MODEL, settings={**PAIR, **REGION, "aws_session_token": token})
    built = provider.build_request(RerankRequest(query=QUERY, documents=DOCUMENTS))
    shown = f"{reranker!r} {provider!r} {provider.connection!r} {built!r}"
    response = rerank(mode, answering({"results": ROWS}), aws_session_token=token)
    for secret in (SECRET, token):
        assert secret not in f"{shown} {response!r} {response.model_dump_json()}"
