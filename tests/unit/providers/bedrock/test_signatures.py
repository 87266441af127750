"""Signatures, compared with botocore's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from types import SimpleNamespace

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.parsers
import botocore.session
import pytest
from tests.support.harness import DOCUMENTS, Mode, Replay
from tests.unit.providers.bedrock.signed import ACCESS_KEY, ROWS, SECRET, rerank, sent, signature, signature_in

NOON = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.timezone.utc)


def set_clock(monkeypatch: pytest.MonkeyPatch, now: Callable[[], dt.datetime]) -> None:
    """Set the time that botocore reads; older versions read it from the class."""
    if hasattr(botocore.auth, "get_current_datetime"):
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now().replace(tzinfo=None))
    else:
        clock = SimpleNamespace(datetime=SimpleNamespace(utcnow=now, now=lambda _: now()), timezone=dt.timezone)
        monkeypatch.setattr(botocore.auth, "datetime", clock)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, lambda: NOON)


@pytest.mark.parametrize("token", [None, "t0ken/with+signs=="])
@pytest.mark.parametrize("base", [None, "https://gw.example:8443/aws?tenant=7&a=1", "http://127.0.0.1:9/"])
def test_signature_is_the_one_of_botocore_over_the_bytes_sent(
    token: str | None, base: str | None, noon: None, mode: Mode
) -> None:
    request = sent(mode, ["Оттава", *DOCUMENTS], api_base=base, aws_session_token=token)
    names = "content-type;host;x-amz-date" + (";x-amz-security-token" if token else "")
    scope = "20260301/us-west-2/bedrock/aws4_request"
    start = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature="
    assert request.headers["authorization"] == start + signature(request, "us-west-2")
    assert request.headers["x-amz-date"] == "20260301T120000Z"
    assert request.headers.get("x-amz-security-token") == token

    credentials = botocore.credentials.Credentials(ACCESS_KEY, SECRET, token)
    theirs = botocore.awsrequest.AWSRequest(
        method="POST", url=str(request.url), data=request.content, headers={"content-type": "application/json"}
    )
    botocore.auth.SigV4Auth(credentials, "bedrock", "us-west-2").add_auth(theirs)
    assert request.headers["authorization"] == theirs.headers["Authorization"]


def test_signature_of_a_known_request_is_unchanged(noon: None, sync_mode: Mode) -> None:
    request = sent(sync_mode, ["Ottawa"], top_n=1)
    assert request.content == (
        b'{"queries":[{"type":"TEXT","textQuery":{"text":"Which city is the capital of Canada?"}}],'
        b'"rerankingConfiguration":{"type":"BEDROCK_RERANKING_MODEL","bedrockRerankingConfiguration":{"numberOfResults"'
        b':1,"modelConfiguration":{"modelArn":"arn:aws:bedrock:us-west-2::foundation-model/cohere.rerank-v3-5:0"}}},'
        b'"sources":[{"type":"INLINE","inlineDocumentSource":{"type":"TEXT","textDocument":{"text":"Ottawa"}}}]}'
    )
    assert signature_in(request) == "b9976b4b20d0a982f91127f2eb0e84b168899f756d2e37d7f84e2405801ebc99"


def test_retry_has_a_new_signature(mode: Mode, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = iter(range(10))

    set_clock(monkeypatch, lambda: NOON.replace(minute=next(minutes)))
    replay = Replay(
        [{"response": {"status": 500, "text": ""}}, {"response": {"status": 200, "json": {"results": ROWS}}}]
    )
    rerank(mode, replay, max_retries=1)
    assert [request.headers["x-amz-date"] for request in replay.seen] == ["20260301T120000Z", "20260301T120100Z"]
    for request in replay.seen:
        assert signature_in(request) == signature(request, "us-west-2")
