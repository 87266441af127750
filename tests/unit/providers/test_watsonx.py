"""watsonx: a key exchanged for a token, projects and spaces, and the API version in the query string."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering, leaks, sent_by
from tests.support.loopback import Line, Loopback

import anyrerank
from anyrerank import AuthenticationError, ConfigurationError, RerankError
from anyrerank.providers import watsonx

MODEL = "watsonx/cross-encoder/ms-marco-minilm-l-12-v2"
BASE = "https://us-south.ml.cloud.ibm.com"
IAM = "https://iam.cloud.ibm.com/identity/token"
PROJECT = {"api_base": BASE, "project_id": "p-1"}
ROWS = {"results": [{"index": 1, "score": 2.0}, {"index": 0, "score": 0.0}, {"index": 2, "score": -2.0}]}


@pytest.fixture(autouse=True)
def _no_tokens() -> Iterator[None]:
    watsonx.tokens.clear()
    yield
    watsonx.tokens.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("anyrerank.providers.watsonx.time", SimpleNamespace(monotonic=made))
    return made


class Cloud:
    """IAM and watsonx.ai in one: tokens are numbered, and only the latest is accepted."""

    def __init__(self, seconds: Any = 3600) -> None:
        self.seconds = seconds
        self.exchanges: list[httpx.Request] = []
        self.ranked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            self.exchanges.append(request)
            token = f"token-{len(self.exchanges)}"
            return httpx.Response(200, json={"access_token": token, "expires_in": self.seconds, "token_type": "Bearer"})
        self.ranked.append(request)
        return httpx.Response(200, json=ROWS)

    def reranker(self, mode: Mode, **options: Any) -> anyrerank.Reranker:
        client = mode.client(transport=httpx.MockTransport(self))
        return mode.reranker(MODEL, **{**PROJECT, "http_client": client, **options})

    @property
    def authorizations(self) -> list[str]:
        return [request.headers["authorization"] for request in self.ranked]


# Tokens


def test_key_is_exchanged_for_a_token(mode: Mode) -> None:
    cloud = Cloud()
    response = mode.rerank(cloud.reranker(mode, api_key="k&y=+/%"), QUERY, DOCUMENTS)
    (exchange,) = cloud.exchanges
    assert (exchange.method, str(exchange.url)) == ("POST", IAM)
    assert exchange.headers["content-type"] == "application/x-www-form-urlencoded"
    assert exchange.headers["accept"] == "application/json"
    assert "authorization" not in exchange.headers
    assert parse_qs(exchange.content.decode()) == {
        "grant_type": ["urn:ibm:params:oauth:grant-type:apikey"],
        "apikey": ["k&y=+/%"],
    }
    assert cloud.authorizations == ["Bearer token-1"]
    assert b"k&y" not in cloud.ranked[0].content
    assert [each.index for each in response.results] == [1, 0, 2]
    assert len(response.attempts) == 1


class OnPremises(Cloud):
    """An installation on premises."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/icp4d-api/v1/authorize":
            return super().__call__(request)
        self.exchanges.append(request)
        return httpx.Response(200, json={"_messageCode_": "200", "message": "Success", "token": "t-1"})


@pytest.mark.parametrize("given", [{"password": "pass-7Hq2", "api_key": None}, {"api_key": "key-7Hq2"}])
@pytest.mark.parametrize("path", ["", "/ml/v1/text/rerank"])
def test_user_name_is_exchanged_for_a_token_on_premises(given: dict[str, Any], path: str, mode: Mode) -> None:
    cloud = OnPremises()
    reranker = cloud.reranker(mode, api_base=f"https://cpd.test{path}", username="ann", **given)
    for _ in range(2):
        assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 3
    (exchange,) = cloud.exchanges
    assert (exchange.method, str(exchange.url)) == ("POST", "https://cpd.test/icp4d-api/v1/authorize")
    secret = {name: value for name, value in given.items() if value}
    assert json.loads(exchange.content) == {"username": "ann", **secret}
    assert cloud.authorizations == ["Bearer t-1"] * 2
    assert str(cloud.ranked[0].url) == "https://cpd.test/ml/v1/text/rerank?version=2024-03-13"


def test_user_name_and_password_come_from_the_environment(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WATSONX_USERNAME": "ann", "WATSONX_PASSWORD": "p", "WATSONX_URL": "https://cpd.test"}.items():
        monkeypatch.setenv(name, value)
    cloud = OnPremises()
    mode.rerank(cloud.reranker(mode, api_key=None, api_base=None), QUERY, DOCUMENTS)
    assert json.loads(cloud.exchanges[0].content) == {"username": "ann", "password": "p"}


def test_password_without_a_user_name_is_refused(mode: Mode) -> None:
    reranker = OnPremises().reranker(mode, api_key=None, password="pass-7Hq2")
    with pytest.raises(ConfigurationError, match="pass username=, or set WATSONX_USERNAME"):
        mode.rerank(reranker, QUERY, DOCUMENTS)


def test_refused_password_is_in_no_error(mode: Mode) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"message": f"refused {request.content.decode()}"})

    client = mode.client(transport=httpx.MockTransport(refuse))
    given = {**PROJECT, "username": "ann", "password": "pass-7Hq2", "api_key": None, "http_client": client}
    reranker = mode.reranker(MODEL, **given)
    with pytest.raises(AuthenticationError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert not leaks(caught.value, ["pass-7Hq2"])


def test_token_is_fetched_over_real_connections(mode: Mode, serve: Callable[..., Loopback]) -> None:
    def script(line: Line) -> None:
        if line.hit.target == "/identity/token":
            line.answer(body={"access_token": "t-1", "expires_in": 3600})
        else:
            line.answer(body=ROWS)

    server = serve(script)
    reranker = mode.reranker(MODEL, api_base=server.url, iam_url=server.url, project_id="p-1")
    for _ in range(2):
        assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 3
    assert [hit.target for hit in server.hits] == ["/identity/token", *["/ml/v1/text/rerank?version=2024-03-13"] * 2]
    assert parse_qs(server.hits[0].body.decode())["apikey"] == [KEY]
    assert [hit.headers.get("authorization") for hit in server.hits] == [None, "Bearer t-1", "Bearer t-1"]


def test_token_is_cached_for_all_calls_with_the_key(mode: Mode) -> None:
    cloud = Cloud()
    first, second = cloud.reranker(mode), cloud.reranker(mode, project_id="p-2")
    for reranker in (first, first, second):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert cloud.authorizations == ["Bearer token-1"] * 3
    mode.rerank(cloud.reranker(mode, api_key="another"), QUERY, DOCUMENTS)
    mode.rerank(cloud.reranker(mode, iam_url="https://iam.other.example"), QUERY, DOCUMENTS)
    mode.rerank(first, QUERY, DOCUMENTS)
    assert cloud.authorizations[3:] == ["Bearer token-2", "Bearer token-3", "Bearer token-1"]


def test_token_is_renewed_a_minute_before_it_expires(mode: Mode, clock: Clock) -> None:
    cloud = Cloud(seconds=3600)
    reranker = cloud.reranker(mode)
    for seconds in (0, 3539, 1, 3539, 1):
        clock.now += seconds
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert cloud.authorizations == [f"Bearer token-{number}" for number in (1, 1, 2, 2, 3)]


def test_token_valid_for_less_than_a_minute_serves_one_call(mode: Mode) -> None:
    cloud = Cloud(seconds=30)
    reranker = cloud.reranker(mode)
    for _ in range(2):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert cloud.authorizations == ["Bearer token-1", "Bearer token-2"]


def test_number_of_cached_tokens_is_bounded(sync_mode: Mode) -> None:
    cloud = Cloud()
    keys = [f"key-{number}" for number in range(watsonx.MAX_TOKENS_CACHED + 1)]
    for key in [*keys, keys[-1], keys[0]]:
        sync_mode.rerank(cloud.reranker(sync_mode, api_key=key), QUERY, DOCUMENTS)
    assert len(watsonx.tokens) == watsonx.MAX_TOKENS_CACHED
    assert len(cloud.exchanges) == len(keys) + 1


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://iam.test.example", "https://iam.test.example/identity/token"),
        ("https://iam.test.example/", "https://iam.test.example/identity/token"),
        ("https://iam.test.example/identity/token", "https://iam.test.example/identity/token"),
        ("https://gw.example/ibm/?t=1", "https://gw.example/ibm/identity/token?t=1"),
        ("https://iam.test.example/oidc/token", "https://iam.test.example/oidc/token"),
        ("https://iam.test.example/v1/token/?t=1", "https://iam.test.example/v1/token?t=1"),
        ("https://iam.test.example/my-token", "https://iam.test.example/my-token/identity/token"),
    ],
)
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_iam_url_composition(
    address: str, url: str, way: str, sync_mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud()
    if way == "environment":
        monkeypatch.setenv("WATSONX_IAM_URL", address)
    given = {"iam_url": address} if way == "argument" else {}
    sync_mode.rerank(cloud.reranker(sync_mode, **given), QUERY, DOCUMENTS)
    assert [str(request.url) for request in cloud.exchanges] == [url]


@pytest.mark.parametrize("variable", ["WATSONX_APIKEY", "WATSONX_API_KEY", "WX_API_KEY"])
def test_key_is_read_from_the_environment(variable: str, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "k-env")
    cloud = Cloud()
    mode.rerank(cloud.reranker(mode, api_key=None), QUERY, DOCUMENTS)
    assert parse_qs(cloud.exchanges[0].content.decode())["apikey"] == ["k-env"]


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_refused_key_raises_without_showing_it(status: int, mode: Mode) -> None:
    body = {
        "errorCode": "BXNIM0415E",
        "errorMessage": f"The key {KEY} is not known.",
        "context": {"requestId": "iam-1"},
    }
    replay = answering(body, status)
    with pytest.raises(RerankError, match=f"{status}: BXNIM0415E: .*withheld") as caught:
        mode.rerank(mode.reranker(MODEL, **PROJECT, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert (caught.value.status_code, caught.value.url) == (status, IAM)
    assert not leaks(caught.value, [KEY])
    assert watsonx.tokens == {}
    assert len(replay.seen) == 1


@pytest.mark.parametrize("status", [400, 401])
def test_unknown_key_raises_authentication_error(status: int, mode: Mode) -> None:
    replay = answering({"errorCode": "BXNIM0415E", "errorMessage": "The key is not known."}, status)
    with pytest.raises(AuthenticationError):
        mode.rerank(mode.reranker(MODEL, **PROJECT, http_client=replay.client(mode)), QUERY, DOCUMENTS)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"expires_in": 3600},
        {"access_token": "t-secret"},
        {"access_token": None, "expires_in": 3600},
        {"access_token": "t-secret", "expires_in": "soon"},
        {"access_token": "t-secret", "expires_in": True},
        [],
        "",
        "<html></html>",
    ],
)
def test_iam_answer_without_a_token_raises(body: Any, mode: Mode) -> None:
    replay = answering(body)
    with pytest.raises(AuthenticationError, match="IBM's IAM answered without a token: check iam_url") as caught:
        mode.rerank(mode.reranker(MODEL, **PROJECT, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert not leaks(caught.value, [KEY, "t-secret"])


@pytest.mark.parametrize("length", [40, 1500])
def test_error_that_quotes_a_fetched_token_is_withheld(length: int, mode: Mode) -> None:
    token = "".join(f"{index:03x}-" for index in range(length))[:length]
    replay = Replay(
        [
            {"response": {"status": 200, "json": {"access_token": token, "expires_in": 3600}}},
            {"response": {"status": 401, "json": {"errors": [{"code": "x", "message": f"The token {token} is bad"}]}}},
        ]
    )
    with pytest.raises(AuthenticationError, match=r"401: x: .*withheld") as caught:
        mode.rerank(mode.reranker(MODEL, **PROJECT, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert not leaks(caught.value, [KEY, token, token[:24], token[24:40]])


# Credentials in order of precedence


@pytest.mark.parametrize(
    ("options", "environment", "authorization"),
    [
        ({"token": "t-own"}, {}, "Bearer t-own"),
        ({"token": "t-own", "api_key": KEY}, {"WATSONX_ZENAPIKEY": "z-env"}, "Bearer t-own"),
        ({"zen_api_key": "z-own"}, {}, "ZenApiKey z-own"),
        ({}, {"WATSONX_TOKEN": "t-env"}, "Bearer t-env"),
        ({}, {"WATSONX_ZENAPIKEY": "z-env"}, "ZenApiKey z-env"),
        ({}, {"WATSONX_TOKEN": "t-env", "WATSONX_APIKEY": "k-env"}, "Bearer t-env"),
        ({"headers": {"Authorization": "Basic own"}}, {"WATSONX_APIKEY": "k-env"}, "Basic own"),
        ({"api_key": KEY}, {"WATSONX_TOKEN": "t-env"}, "Bearer token-1"),
        ({"api_key": KEY}, {"WATSONX_ZENAPIKEY": "z-env"}, "Bearer token-1"),
        ({"zen_api_key": "z-own"}, {"WATSONX_TOKEN": "t-env"}, "ZenApiKey z-own"),
    ],
)
def test_credentials_in_order_of_precedence(
    options: dict[str, Any],
    environment: Mapping[str, str],
    authorization: str,
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cloud = Cloud()
    mode.rerank(cloud.reranker(mode, **{"api_key": None, **options}), QUERY, DOCUMENTS)
    assert cloud.authorizations == [authorization]
    assert len(cloud.exchanges) == (authorization == "Bearer token-1")


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ({"project_id": "p-1"}, {}, {"project_id": "p-1"}),
        ({"space_id": "s-1"}, {}, {"space_id": "s-1"}),
        ({}, {"WATSONX_PROJECT_ID": "p-2", "WX_PROJECT_ID": "p-3"}, {"project_id": "p-2"}),
        ({}, {"WX_PROJECT_ID": "p-3"}, {"project_id": "p-3"}),
        ({}, {"WATSONX_SPACE_ID": "s-2", "WX_SPACE_ID": "s-3"}, {"space_id": "s-2"}),
        ({}, {"WX_SPACE_ID": "s-3"}, {"space_id": "s-3"}),
        ({}, {"WATSONX_DEPLOYMENT_SPACE_ID": "s-4", "WATSONX_SPACE_ID": "s-2"}, {"space_id": "s-4"}),
        ({"project_id": "p-1"}, {"WX_PROJECT_ID": "p-3"}, {"project_id": "p-1"}),
        ({"space_id": "s-1"}, {"WATSONX_PROJECT_ID": "p-2"}, {"space_id": "s-1"}),
        ({"project_id": "p-1"}, {"WATSONX_SPACE_ID": "s-2"}, {"project_id": "p-1"}),
    ],
)
def test_project_or_space_is_sent(
    options: dict[str, str],
    environment: Mapping[str, str],
    expected: Mapping[str, str],
    sync_mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    body = json.loads(sent_by(sync_mode, MODEL, api_base=BASE, token="t", **options).content)
    assert {name: value for name, value in body.items() if name.endswith("_id")} == {
        "model_id": "cross-encoder/ms-marco-minilm-l-12-v2",
        **expected,
    }


def test_missing_project_and_space_raise(mode: Mode) -> None:
    cloud = Cloud()
    with pytest.raises(ConfigurationError) as caught:
        mode.rerank(cloud.reranker(mode, project_id=None), QUERY, DOCUMENTS)
    assert all(name in caught.value.message for name in ("project_id", "WATSONX_PROJECT_ID", "WX_PROJECT_ID"))
    assert cloud.exchanges == []


# Addresses, scores, errors


@pytest.mark.parametrize(
    ("base", "options", "url"),
    [
        (BASE, {}, f"{BASE}/ml/v1/text/rerank?version=2024-03-13"),
        (BASE, {"api_version": "2025-02-01"}, f"{BASE}/ml/v1/text/rerank?version=2025-02-01"),
        (f"{BASE}/?version=2023-05-29", {}, f"{BASE}/ml/v1/text/rerank?version=2023-05-29"),
        (f"{BASE}/ml/v1/text/rerank/?a=1&b=%2F", {}, f"{BASE}/ml/v1/text/rerank?version=2024-03-13&a=1&b=%2F"),
    ],
)
def test_url_composition(base: str, options: dict[str, str], url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base, token="t", project_id="p", **options).url) == url


def test_unit_scores_are_sigmoids_of_logits(mode: Mode) -> None:
    response = mode.rerank(Cloud().reranker(mode, token="t", score_mode="unit"), QUERY, DOCUMENTS)
    assert [each.relevance_score for each in response.results] == pytest.approx([0.880797, 0.5, 0.119203], abs=1e-6)


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (["token_quota_reached"], "RateLimitError"),
        (["other", "token_quota_reached"], "RateLimitError"),
        (["other"], "PermissionDeniedError"),
        ([], "PermissionDeniedError"),
    ],
)
def test_used_up_quota_is_a_rate_limit_error(codes: list[str], kind: str, mode: Mode) -> None:
    errors = [{"code": code, "message": "no more", "more_info": "x"} for code in codes]
    replay = answering({"errors": errors, "trace": "tr-1", "status_code": 403}, 403)
    reranker = mode.reranker(MODEL, **PROJECT, token="t", http_client=replay.client(mode))
    with pytest.raises(RerankError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert type(caught.value) is getattr(anyrerank, kind)
    assert (caught.value.status_code, caught.value.request_id) == (403, "tr-1")
