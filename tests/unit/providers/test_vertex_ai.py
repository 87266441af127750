"""Vertex AI: sources of access tokens, and projects."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering, leaks, sent_by
from tests.support.loopback import Line, Loopback

from anyrerank import APIConnectionError, AuthenticationError, ConfigurationError, RateLimitError
from anyrerank._core.engine import connect
from anyrerank.providers import vertex_ai

MODEL = "vertex_ai/semantic-ranker-default-004"
HOST = "https://discoveryengine.googleapis.com"
RECORDS = {"records": [{"id": "1", "score": 0.75}, {"id": "0", "score": 0.5}, {"id": "2"}]}
REFRESH_TOKEN = "1//refresh-me-0Q7xV"
CLIENT_SECRET = "client-s3cret-9Zk2"


def path(project: str, location: str = "global") -> str:
    return f"/v1/projects/{project}/locations/{location}/rankingConfigs/default_ranking_config:rank"


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for variable in ("GCLOUD_PROJECT", "GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("PATH", str(tmp_path))
    vertex_ai.credentials_for.cache_clear()
    yield
    vertex_ai.credentials_for.cache_clear()


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def pem(private_key: rsa.RSAPrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return private_key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture
def google(serve: Callable[..., Loopback]) -> Loopback:
    """A server that issues tokens and ranks."""

    def script(line: Line) -> None:
        if line.hit.target == "/token":
            number = sum(hit.target == "/token" for hit in line.server.hits)
            line.answer(body={"access_token": f"ya29.token-{number}", "expires_in": 3600, "token_type": "Bearer"})
        else:
            line.answer(body=RECORDS)

    return serve(script)


def service_account(pem: str, google: Loopback, **more: Any) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "of-the-account",
        "private_key_id": "kid-1",
        "private_key": pem,
        "client_email": "ranker@of-the-account.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{google.url}/token",
        **more,
    }


@pytest.fixture
def account(pem: str, google: Loopback) -> dict[str, Any]:
    return service_account(pem, google)


@pytest.fixture
def user(google: Loopback, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{google.url}/token")
    return {
        "type": "authorized_user",
        "client_id": "client-1",
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
    }


@pytest.mark.parametrize(
    "model",
    [
        "semantic-ranker-default-004",
        "semantic-ranker-fast-003",
        "semantic-ranker-512@latest",
        "semantic-ranker-of-tomorrow",
    ],
)
@pytest.mark.parametrize(("documents", "cost"), [(1, 0.001), (100, 0.001), (101, 0.002)])
def test_every_model_has_the_list_price(model: str, documents: int, cost: float, mode: Mode) -> None:
    replay = answering({"records": [{"id": str(index), "score": 0.5} for index in range(documents)]})
    reranker = mode.reranker(f"vertex_ai/{model}", vertex_project="p-1", http_client=replay.client(mode))
    response = mode.rerank(reranker, QUERY, [f"city {index}" for index in range(documents)])
    assert response.cost == pytest.approx(cost)
    assert response.cost_estimated


def test_path_of_credentials_withholds_no_message(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/application_default_credentials.json")
    message = "Request had invalid authentication credentials"
    client = answering({"error": {"message": message}}, 401).client(mode)
    reranker = mode.reranker(MODEL, vertex_project="p-1", http_client=client)
    with pytest.raises(AuthenticationError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.message == f"Google Vertex AI answered 401: {message}"


def tokens(google: Loopback) -> list[dict[str, list[str]]]:
    return [parse_qs(hit.body.decode()) for hit in google.hits if hit.target == "/token"]


def ranked(google: Loopback) -> list[tuple[str, str, str | None]]:
    return [
        (hit.target, hit.headers["authorization"], hit.headers.get("x-goog-user-project"))
        for hit in google.hits
        if hit.target != "/token"
    ]


def refused(mode: Mode, **options: Any) -> AuthenticationError:
    """The error of a call that gets no token."""
    replay = Replay([])
    reranker = mode.reranker(MODEL, api_key=None, http_client=replay.client(mode), **options)
    with pytest.raises(AuthenticationError, match="no Google credentials: ") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert replay.seen == []
    assert (caught.value.provider, caught.value.status_code) == ("vertex_ai", None)
    return caught.value


# Tokens


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


# Tokens that cannot be fetched


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


# Projects, locations and addresses


@pytest.mark.parametrize(
    ("options", "environment", "project", "quota"),
    [
        ({}, {}, "of-the-account", "of-the-account"),
        ({}, {"GOOGLE_CLOUD_PROJECT": "p-2"}, "p-2", "p-2"),
        ({}, {"VERTEXAI_PROJECT": "p-1", "GOOGLE_CLOUD_PROJECT": "p-2"}, "p-1", "p-1"),
        ({"vertex_project": "p-0"}, {"VERTEXAI_PROJECT": "p-1"}, "p-0", "p-0"),
        ({"vertex_project": "p-0", "vertex_quota_project": "p-q"}, {}, "p-0", "p-q"),
        ({"vertex_quota_project": False}, {}, "of-the-account", None),
        ({"vertex_quota_project": None}, {}, "of-the-account", "of-the-account"),
        ({"headers": {"X-Goog-User-Project": "p-h"}}, {}, "of-the-account", "p-h"),
    ],
)
def test_project_comes_from_argument_environment_or_credentials(
    *,
    options: dict[str, Any],
    environment: Mapping[str, str],
    project: str,
    quota: str | None,
    account: Mapping[str, Any],
    google: Loopback,
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = {"api_base": google.url, "vertex_credentials": account, **options}
    mode.rerank(mode.reranker(MODEL, api_key=None, **options), QUERY, DOCUMENTS)
    assert ranked(google) == [(path(project), "Bearer ya29.token-1", quota)]


def test_missing_project_names_the_variables(user: Mapping[str, Any], google: Loopback, mode: Mode) -> None:
    reranker = mode.reranker(MODEL, api_key=None, api_base=google.url, vertex_credentials=user)
    with pytest.raises(ConfigurationError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    for name in ("vertex_project", "VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        assert name in caught.value.message
    assert ranked(google) == []


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, f"{HOST}{path('acme')}"),
        ({"vertex_location": "eu"}, f"{HOST}{path('acme', 'eu')}"),
        ({"vertex_location": "eu/x"}, f"{HOST}{path('acme', 'eu%2Fx')}"),
        (
            {"api_base": "https://eu-discoveryengine.googleapis.com"},
            f"https://eu-discoveryengine.googleapis.com{path('acme')}",
        ),
        ({"api_base": "https://gw.example/google"}, f"https://gw.example/google{path('acme')}"),
        ({"api_base": "https://gw.example/rank/it:rank"}, "https://gw.example/rank/it:rank"),
        ({"api_base": "https://gw.example/rank/it:rank/"}, "https://gw.example/rank/it:rank"),
        ({"api_base": "https://gw.example/it:rank?t=1", "vertex_location": "eu"}, "https://gw.example/it:rank?t=1"),
    ],
)
def test_url_composition(options: dict[str, str], url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, vertex_project="acme", **options).url) == url


def test_full_url_needs_no_project(mode: Mode) -> None:
    request = sent_by(mode, MODEL, api_base="https://gw.example/rank/it:rank")
    assert str(request.url) == "https://gw.example/rank/it:rank"
    assert "x-goog-user-project" not in request.headers


@pytest.mark.parametrize("host", ["aiplatform.googleapis.com", "europe-west4-aiplatform.googleapis.com"])
def test_aiplatform_host_raises(host: str, mode: Mode) -> None:
    with pytest.raises(ConfigurationError, match=r"discoveryengine\.googleapis\.com"):
        sent_by(mode, MODEL, vertex_project="acme", api_base=f"https://{host}/v1")


# Requests and answers


def test_more_than_200_documents_are_split(mode: Mode) -> None:
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        records = json.loads(request.content)["records"]
        assert [record["id"] for record in records] == [str(index) for index in range(len(records))]
        asked.append(len(records))
        rows = [{"id": record["id"], "score": 1 / (500 - int(record["content"]))} for record in records]
        return httpx.Response(200, json={"records": rows[::-1]})

    client = mode.client(transport=httpx.MockTransport(answer))
    reranker = mode.reranker(MODEL, vertex_project="acme", http_client=client)
    response = mode.rerank(reranker, QUERY, [str(index) for index in range(401)])
    assert sorted(asked) == [1, 200, 200]
    assert [each.index for each in response.results] == list(range(400, -1, -1))
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.search_units == 2 + 2 + 1
    assert response.meta.estimated


@pytest.mark.parametrize(
    ("document", "options", "record"),
    [
        ("Ottawa", {}, {"content": "Ottawa"}),
        ({"text": "Ottawa", "title": "Canada", "url": "x"}, {}, {"title": "Canada", "content": "Ottawa"}),
        ({"text": "Ottawa", "title": None}, {}, {"content": "Ottawa"}),
        ({"text": "Ottawa", "title": 7}, {}, {"content": "Ottawa"}),
        ({"text": "Ottawa", "title": "Canada"}, {"rank_fields": ["text"]}, {"content": "text: Ottawa\n"}),
    ],
)
def test_record_holds_title_and_content(
    document: Any, options: dict[str, Any], record: Mapping[str, str], sync_mode: Mode
) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, [document], vertex_project="acme", **options).content)
    assert body["records"] == [{"id": "0", **record}]


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([{"retryDelay": "12s"}], {}, 12),
        ([{"reason": "x"}, {"retryDelay": "0.25s"}], {"retry-after": "9"}, 0.25),
        ([], {"retry-after": "9"}, 9),
        ([{"retryDelay": "-1s"}, {"retryDelay": None}, None], {"retry-after": "9"}, 9),
        ({"retryDelay": "12s"}, {}, None),
        ("12s", {}, None),
    ],
)
def test_retry_delay_in_the_body_takes_precedence(
    details: Any, headers: Mapping[str, str], seconds: float | None, mode: Mode
) -> None:
    body = {"error": {"code": 429, "message": "no more", "status": "RESOURCE_EXHAUSTED", "details": details}}
    replay = answering(body, 429, headers)
    reranker = mode.reranker(MODEL, vertex_project="acme", http_client=replay.client(mode))
    with pytest.raises(RateLimitError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.retry_after == seconds
