"""Where the credentials come from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering, leaks, sent_by
from tests.support.loopback import Loopback
from tests.unit.providers.bedrock.signed import (
    ACCESS_KEY,
    MODEL,
    PAIR,
    REGION,
    SECRET,
    rerank,
    sent,
    signature,
    signature_in,
)

from anyrerank import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
)

KEYS_IN_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s-env"}
BEARER_IN_ENVIRONMENT = {"AWS_BEARER_TOKEN_BEDROCK": "b-env"}


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize(
    ("options", "environment", "start", "secret"),
    [
        ({"api_key": KEY}, KEYS_IN_ENVIRONMENT, f"Bearer {KEY}", None),
        ({"api_key": KEY}, {"AWS_PROFILE": "work"}, f"Bearer {KEY}", None),
        ({}, BEARER_IN_ENVIRONMENT, "Bearer b-env", None),
        ({}, {**BEARER_IN_ENVIRONMENT, **KEYS_IN_ENVIRONMENT}, "AWS4-HMAC-SHA256 Credential=AKIDENV/", "s-env"),
        ({}, {**BEARER_IN_ENVIRONMENT, "AWS_PROFILE": "work"}, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        (PAIR, BEARER_IN_ENVIRONMENT, f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/", SECRET),
        (PAIR, KEYS_IN_ENVIRONMENT, f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/", SECRET),
        ({}, KEYS_IN_ENVIRONMENT, "AWS4-HMAC-SHA256 Credential=AKIDENV/", "s-env"),
        ({}, {"AWS_PROFILE": "work"}, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        ({"aws_profile_name": "work"}, {}, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        ({"aws_profile_name": "work"}, BEARER_IN_ENVIRONMENT, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        ({"aws_profile_name": "work"}, KEYS_IN_ENVIRONMENT, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        ({}, {}, "AWS4-HMAC-SHA256 Credential=AKIDDEFAULT/", "s-default"),
    ],
)
def test_credentials_in_order_of_precedence(
    *,
    options: dict[str, Any],
    environment: dict[str, str],
    start: str,
    secret: str | None,
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    request = sent_by(mode, MODEL, **{"api_key": None, **REGION, **options})
    assert request.headers["authorization"].startswith(start)
    assert request.headers.get("x-amz-security-token") == ("t-work" if secret == "s-work" else None)
    if secret:
        assert signature_in(request) == signature(request, "us-west-2", secret)


def test_session_token_from_environment_is_not_sent_with_passed_keys(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**KEYS_IN_ENVIRONMENT, "AWS_SESSION_TOKEN": "t-env"}.items():
        monkeypatch.setenv(name, value)
    from_environment = sent_by(mode, MODEL, api_key=None, **REGION)
    assert from_environment.headers["x-amz-security-token"] == "t-env"
    assert "x-amz-security-token" not in sent(mode).headers
    assert sent(mode, aws_session_token="t-own").headers["x-amz-security-token"] == "t-own"


@pytest.mark.parametrize("given", list(PAIR))
def test_one_key_of_two_raises_before_sending(given: str, mode: Mode) -> None:
    replay = Replay([])
    with pytest.raises(AuthenticationError, match="aws_access_key_id and aws_secret_access_key") as caught:
        rerank(mode, replay, **{**dict.fromkeys(PAIR), given: SECRET})
    assert not leaks(caught.value, [SECRET])
    assert replay.seen == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no AWS credentials: pass aws_access_key_id="),
        ({"aws_profile_name": "absent"}, r"no AWS credentials: The config profile \(absent\) could not be found"),
        ({"aws_profile_name": "half"}, "no AWS credentials: Partial credentials found"),
    ],
)
def test_missing_credentials_raise_before_sending(
    options: dict[str, Any], message: str, mode: Mode, tmp_path: Path
) -> None:
    (tmp_path / "aws_shared_credentials_file").write_text("[half]\naws_access_key_id = AKIDHALF\n")
    replay = Replay([])
    with pytest.raises(AuthenticationError, match=message) as caught:
        rerank(mode, replay, **{**dict.fromkeys(PAIR), **options})
    assert caught.value.provider == "bedrock"
    assert replay.seen == []


@pytest.mark.parametrize("closed", [False, True])
def test_role_that_cannot_be_assumed_raises_and_fails_over(
    closed: bool, serve: Callable[..., Loopback], mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sts = serve(lambda line: line.answer(403, {"Error": {"Code": "AccessDenied", "Message": "not yours"}}))
    if closed:
        sts.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (tmp_path / "aws_config_file").write_text(
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/ranker\nsource_profile = keys\n"
    )
    (tmp_path / "aws_shared_credentials_file").write_text(
        f"[keys]\naws_access_key_id = AKIDKEYS\naws_secret_access_key = {SECRET}\n"
    )
    replay = Replay([])
    with pytest.raises(APIConnectionError if closed else AuthenticationError, match="AWS credentials") as caught:
        rerank(mode, replay, **{**dict.fromkeys(PAIR), "aws_profile_name": "role"})
    assert not leaks(caught.value, [SECRET])
    assert replay.seen == []
    reranker = mode.reranker(
        MODEL, api_key=None, aws_profile_name="role", aws_region_name="us-west-2", fallbacks=["local/lexical"]
    )
    assert mode.rerank(reranker, QUERY, DOCUMENTS).provider == "local"


@pytest.mark.parametrize("missing", ["botocore", "botocore.auth", "botocore.session"])
def test_missing_botocore_names_the_extra(missing: str, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    replay = Replay([])
    keys = {} if missing == "botocore.session" else PAIR
    with pytest.raises(ConfigurationError, match=r"pip install 'anyrerank\[bedrock\]'"):
        rerank(mode, replay, **{**dict.fromkeys(PAIR), **keys})
    assert replay.seen == []
    with_key = rerank(mode, answering({"results": [{"index": 0, "relevance_score": 0.5}]}), DOCUMENTS[:1], api_key=KEY)
    assert len(with_key.results) == 1
