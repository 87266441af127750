"""Access tokens that cannot be fetched."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, leaks, sent_by
from tests.support.loopback import Line, Loopback
from tests.unit.providers.vertex_ai.tokens import CLIENT_SECRET, MODEL, REFRESH_TOKEN, ranked

from anyrerank import APIConnectionError, AuthenticationError, ConfigurationError
from anyrerank._core.engine import connect
from anyrerank.providers import vertex_ai


def refused(mode: Mode, **options: Any) -> AuthenticationError:
    """The error of a call that gets no token."""
    replay = Replay([])
    reranker = mode.reranker(MODEL, api_key=None, http_client=replay.client(mode), **options)
    with pytest.raises(AuthenticationError, match="no Google credentials: ") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert replay.seen == []
    assert (caught.value.provider, caught.value.status_code) == ("vertex_ai", None)
    return caught.value


BROKEN = [
    (b"\xff\xfe\x00", "cannot be read: UnicodeDecodeError"),
    (b"", "not JSON"),
    (b"s3cret: of yaml", "not JSON"),
    (b'["s3cret"]', "with a 'type'"),
    (b'{"s3cret": "cut off', "not JSON"),
    (b'{"private_key": "s3cret"}', "with a 'type'"),
    (b'{"type": "of_the_future", "private_key": "s3cret"}', "type"),
    (b'{"type": "service_account", "private_key": "s3cret"}', "incomplete"),
    (b'{"type": "authorized_user", "client_secret": "s3cret"}', "incomplete"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_file_without_credentials_raises(content: bytes, message: str, mode: Mode, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_bytes(content)
    error = refused(mode, vertex_credentials=str(file))
    assert message in error.message
    assert not leaks(error, ["s3cret"])


@pytest.mark.parametrize(("content", "message"), [each for each in BROKEN if each[0].startswith(b"{")])
def test_json_without_credentials_raises(content: bytes, message: str, mode: Mode) -> None:
    error = refused(mode, vertex_credentials=content.decode())
    assert message in error.message
    assert not leaks(error, ["s3cret"])


@pytest.mark.parametrize("name", ["absent.json", ""])
def test_unreadable_file_raises(name: str, mode: Mode, tmp_path: Path) -> None:
    error = refused(mode, vertex_credentials=str(tmp_path / name))
    assert "vertex_credentials cannot be read: " in error.message


@pytest.mark.parametrize("key", ["not a key: s3cret", "", None, 7])
def test_malformed_private_key_raises(key: Any, account: dict[str, Any], mode: Mode) -> None:
    error = refused(mode, vertex_credentials={**account, "private_key": key})
    assert "incomplete" in error.message
    assert not leaks(error, ["s3cret"])


def test_damaged_private_key_raises_without_showing_it(account: dict[str, Any], pem: str, mode: Mode) -> None:
    error = refused(mode, vertex_credentials={**account, "private_key": pem.replace("\n", "\nX", 3)})
    assert "incomplete" in error.message
    assert not leaks(error, pem.splitlines()[1:-1])


@pytest.mark.parametrize("kind", ["service_account", "authorized_user"])
def test_refused_refresh_raises_authentication_error(
    kind: str, account: dict[str, Any], user: dict[str, Any], pem: str, google: Loopback, *, mode: Mode
) -> None:
    answer = {"error": "invalid_grant", "error_description": "The grant is expired or revoked."}
    google.script = lambda line: line.answer(400, answer)
    error = refused(mode, vertex_credentials=account if kind == "service_account" else user, vertex_project="acme")
    assert "they were refused or have expired" in error.message
    assert "invalid_grant" in error.message
    assert not leaks(error, [CLIENT_SECRET, REFRESH_TOKEN, *pem.splitlines()[1:-1]])


def test_path_object_and_mapping_proxy_are_accepted(
    account: dict[str, Any], google: Loopback, mode: Mode, tmp_path: Path
) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account))
    for given in (file, MappingProxyType(account)):
        vertex_ai.credentials_for.cache_clear()
        reranker = mode.reranker(MODEL, api_key=None, api_base=google.url, vertex_credentials=given)
        assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 3


def test_credentials_object_raises(mode: Mode) -> None:
    with pytest.raises(ConfigurationError, match="vertex_credentials must be"):
        sent_by(mode, MODEL, api_key=None, vertex_project="acme", vertex_credentials=object())


def test_unreachable_token_server_raises_connection_error(
    account: dict[str, Any], google: Loopback, mode: Mode
) -> None:
    google.close()
    replay = Replay([])
    reranker = mode.reranker(MODEL, api_key=None, http_client=replay.client(mode), vertex_credentials=account)
    with pytest.raises(APIConnectionError, match="token server cannot be reached") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert replay.seen == []
    assert not leaks(caught.value, account["private_key"].splitlines()[1:-1])


def test_missing_credentials_name_the_variables(mode: Mode) -> None:
    error = refused(mode, vertex_project="acme")
    for name in ("api_key", "vertex_credentials", "VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"):
        assert name in error.message


def test_failure_to_get_a_token_is_not_cached(
    account: dict[str, Any], google: Loopback, mode: Mode, tmp_path: Path
) -> None:
    file = tmp_path / "key.json"
    refused(mode, vertex_credentials=str(file))
    file.write_text(json.dumps(account))
    reranker = mode.reranker(MODEL, api_key=None, api_base=google.url, vertex_credentials=str(file))
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert len(ranked(google)) == 1


@pytest.mark.parametrize("missing", ["google.auth", "google.auth.transport.requests"])
def test_missing_google_auth_names_the_extra(
    missing: str, account: Mapping[str, Any], mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    replay = Replay([])
    reranker = mode.reranker(MODEL, api_key=None, vertex_credentials=account, http_client=replay.client(mode))
    with pytest.raises(ConfigurationError, match=re.escape("pip install 'anyrerank[vertex]'")):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert replay.seen == []
    assert "authorization" in sent_by(mode, MODEL, vertex_project="acme").headers


def test_reprs_hold_no_secret(account: Mapping[str, Any], pem: str, mode: Mode) -> None:
    settings = {"vertex_credentials": account, "access_token": "t-s3cret", "vertex_project": "acme"}
    reranker = mode.reranker(MODEL, api_key=None, **settings)
    provider = connect(MODEL, settings=settings)
    shown = f"{reranker!r} {provider!r} {provider.connection!r}"
    assert not [line for line in ("t-s3cret", *pem.splitlines()[1:-1]) if line in shown]


@pytest.mark.parametrize("length", [40, 1000])
def test_error_that_quotes_a_fetched_token_is_withheld(
    length: int, user: Mapping[str, Any], google: Loopback, mode: Mode
) -> None:
    token = "".join(f"{index:03x}-" for index in range(length))[:length]

    def script(line: Line) -> None:
        if line.hit.target == "/token":
            line.answer(body={"access_token": token, "expires_in": 3600})
        else:
            line.answer(401, {"error": {"code": 401, "message": f"What is {token}?", "status": "UNAUTHENTICATED"}})

    google.script = script
    options = {"api_base": google.url, "vertex_credentials": user, "vertex_project": "acme"}
    with pytest.raises(AuthenticationError, match=r"401: UNAUTHENTICATED: .*withheld") as caught:
        mode.rerank(mode.reranker(MODEL, api_key=None, **options), QUERY, DOCUMENTS)
    assert not leaks(caught.value, [token, token[:24], token[24:40]])
