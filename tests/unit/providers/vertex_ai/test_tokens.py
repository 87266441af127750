"""Sources of access tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, sent_by
from tests.support.loopback import Loopback
from tests.unit.providers.vertex_ai.tokens import CLIENT_SECRET, MODEL, REFRESH_TOKEN, path, ranked

from anyrerank.providers import vertex_ai


def tokens(google: Loopback) -> list[dict[str, list[str]]]:
    return [parse_qs(hit.body.decode()) for hit in google.hits if hit.target == "/token"]


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_service_account_fetches_a_token(
    account: Mapping[str, Any], google: Loopback, private_key: rsa.RSAPrivateKey, mode: Mode
) -> None:
    reranker = mode.reranker(MODEL, api_key=None, api_base=google.url, vertex_credentials=account)
    for _ in range(2):
        response = mode.rerank(reranker, QUERY, DOCUMENTS)
        assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.75), (0, 0.5), (2, 0.0)]
        assert len(response.attempts) == 1
    (asked,) = tokens(google)
    assert asked["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, claims, signature = asked["assertion"][0].split(".")
    assert decoded(head) == {"typ": "JWT", "alg": "RS256", "kid": "kid-1"}
    payload = decoded(claims)
    assert payload["iss"] == account["client_email"]
    assert payload["aud"] == "https://oauth2.googleapis.com/token"
    assert payload["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    private_key.public_key().verify(
        base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)),
        f"{head}.{claims}".encode(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )
    assert ranked(google) == [(path("of-the-account"), "Bearer ya29.token-1", "of-the-account")] * 2


def test_sync_and_async_rerankers_share_a_token(account: Mapping[str, Any], google: Loopback) -> None:
    for asynchronous in (False, True, False):
        mode = Mode(asynchronous=asynchronous)
        reranker = mode.reranker(MODEL, api_key=None, api_base=google.url, vertex_credentials=account)
        mode.rerank(reranker, QUERY, DOCUMENTS)
        mode.finish()
    assert len(tokens(google)) == 1
    assert [authorization for _, authorization, _ in ranked(google)] == ["Bearer ya29.token-1"] * 3


def test_authorized_user_fetches_a_token(user: Mapping[str, Any], google: Loopback, mode: Mode) -> None:
    options = {"api_base": google.url, "vertex_credentials": user, "vertex_project": "acme"}
    reranker = mode.reranker(MODEL, api_key=None, **options)
    for _ in range(2):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    (asked,) = tokens(google)
    assert asked["grant_type"] == ["refresh_token"]
    assert asked["refresh_token"] == [REFRESH_TOKEN]
    assert (asked["client_id"], asked["client_secret"]) == (["client-1"], [CLIENT_SECRET])
    assert ranked(google) == [(path("acme"), "Bearer ya29.token-1", "acme")] * 2


def test_expired_token_is_renewed(user: Mapping[str, Any], google: Loopback, mode: Mode) -> None:
    options = {"api_base": google.url, "vertex_credentials": user, "vertex_project": "acme"}
    reranker = mode.reranker(MODEL, api_key=None, **options)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    credentials, _ = vertex_ai.credentials_for(json.dumps(user))
    credentials.expiry = credentials.expiry.replace(year=2020)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert [each for _, each, _ in ranked(google)] == ["Bearer ya29.token-1", "Bearer ya29.token-2"]


@pytest.mark.parametrize("variable", ["VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS", None])
@pytest.mark.parametrize("form", ["text", "path"])
def test_credentials_are_read_from_file_json_mapping_or_environment(
    variable: str | None,
    form: str,
    account: Mapping[str, Any],
    google: Loopback,
    tmp_path: Path,
    *,
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = json.dumps(account, indent=2)
    if form == "path":
        (tmp_path / "key.json").write_text(held)
        held = str(tmp_path / "key.json")
    if variable:
        monkeypatch.setenv(variable, f" {held}\n")
    given = {} if variable else {"vertex_credentials": held}
    mode.rerank(mode.reranker(MODEL, api_key=None, api_base=google.url, **given), QUERY, DOCUMENTS)
    assert ranked(google) == [(path("of-the-account"), "Bearer ya29.token-1", "of-the-account")]


def test_argument_takes_precedence_over_the_environment(
    account: Mapping[str, Any], google: Loopback, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTEXAI_CREDENTIALS", "/nowhere/a.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/b.json")
    reranker = mode.reranker(MODEL, api_key=None, api_base=google.url, vertex_credentials=account)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert len(tokens(google)) == 1


@pytest.mark.parametrize(
    ("options", "authorization"),
    [
        ({"api_key": KEY}, f"Bearer {KEY}"),
        ({"api_key": None, "access_token": "t-own"}, "Bearer t-own"),
        ({"api_key": KEY, "access_token": "t-own"}, "Bearer t-own"),
        ({"api_key": None, "headers": {"Authorization": "Bearer of-the-caller"}}, "Bearer of-the-caller"),
    ],
)
def test_passed_token_is_used(
    options: dict[str, Any], authorization: str, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    request = sent_by(mode, MODEL, vertex_project="acme", **options)
    assert request.headers["authorization"] == authorization


def test_default_credentials_are_used(
    user: Mapping[str, Any], google: Loopback, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gcloud"
    folder.mkdir()
    (folder / "application_default_credentials.json").write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")
    mode.rerank(mode.reranker(MODEL, api_key=None, api_base=google.url), QUERY, DOCUMENTS)
    assert ranked(google) == [(path("acme"), "Bearer ya29.token-1", "acme")]
