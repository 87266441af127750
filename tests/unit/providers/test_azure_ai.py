"""Azure AI: Foundry resources and serverless endpoints, two key headers, and Entra ID tokens."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering, leaks, sent_by
from tests.support.loopback import ranking

from anyrerank import APITimeoutError, AuthenticationError, BadRequestError, ConfigurationError, RerankError
from anyrerank._core.engine import connect
from anyrerank.providers import azure_ai

MODEL = "azure_ai/Cohere-rerank-v4.0-pro"
FOUNDRY = "https://res.services.ai.azure.com"
SERVERLESS = "https://rank-1.eastus2.models.ai.azure.com"
TOKEN = "entra-token-7Hq2LmXw"
ANSWER = ranking(DOCUMENTS)

PORTAL_PATHS = (
    "/models",
    "/models/chat/completions",
    "/openai",
    "/openai/v1/",
    "/openai/v1/chat/completions",
    "/openai/deployments/my-deployment",
    "/anthropic",
    "/api/projects/my-project",
)
"""Paths of a resource as Azure's portal shows them."""


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (FOUNDRY, f"{FOUNDRY}/providers/cohere/v2/rerank"),
        (f"{FOUNDRY}/", f"{FOUNDRY}/providers/cohere/v2/rerank"),
        (f"{FOUNDRY}?api-version=1", f"{FOUNDRY}/providers/cohere/v2/rerank?api-version=1"),
        ("https://Res.Services.AI.Azure.com", "https://res.services.ai.azure.com/providers/cohere/v2/rerank"),
        (f"{FOUNDRY}/providers/cohere", f"{FOUNDRY}/providers/cohere/v2/rerank"),
        (f"{FOUNDRY}/providers/cohere//", f"{FOUNDRY}/providers/cohere/v2/rerank"),
        (f"{FOUNDRY}/providers/cohere?t=1", f"{FOUNDRY}/providers/cohere/v2/rerank?t=1"),
        (f"{FOUNDRY}/providers/cohere/v2", f"{FOUNDRY}/providers/cohere/v2/rerank"),
        (f"{FOUNDRY}/providers/cohere/v2/rerank/", f"{FOUNDRY}/providers/cohere/v2/rerank"),
        (f"{FOUNDRY}/providers/cohere/v1", f"{FOUNDRY}/providers/cohere/v1/rerank"),
        (f"{FOUNDRY}/v1/rerank", f"{FOUNDRY}/v1/rerank"),
        (f"{FOUNDRY}/v2", f"{FOUNDRY}/v2/rerank"),
        *((f"{FOUNDRY}{path}", f"{FOUNDRY}/providers/cohere/v2/rerank") for path in PORTAL_PATHS),
        (SERVERLESS, f"{SERVERLESS}/v1/rerank"),
        (f"{SERVERLESS}//", f"{SERVERLESS}/v1/rerank"),
        (f"{SERVERLESS}/v1/", f"{SERVERLESS}/v1/rerank"),
        (f"{SERVERLESS}/v2", f"{SERVERLESS}/v2/rerank"),
        (f"{SERVERLESS}/v1/rerank?t=1", f"{SERVERLESS}/v1/rerank?t=1"),
        (f"{SERVERLESS}/v2/rerank", f"{SERVERLESS}/v2/rerank"),
        ("https://res.services.ai.azure.us", "https://res.services.ai.azure.us/providers/cohere/v2/rerank"),
        (f"{SERVERLESS}/v1/chat/completions", f"{SERVERLESS}/v1/rerank"),
        ("https://gw.example/azure", "https://gw.example/azure/v1/rerank"),
        ("https://res.services.ai.azure.com.gw.example", "https://res.services.ai.azure.com.gw.example/v1/rerank"),
        ("https://myservices.ai.azure.com", "https://myservices.ai.azure.com/v1/rerank"),
    ],
)
def test_version_in_url_decides_the_body(base: str, url: str, sync_mode: Mode) -> None:
    document = {"text": "Ottawa", "page": 9}
    request = sent_by(sync_mode, MODEL, [document], api_base=base)
    assert str(request.url) == url
    expected = document if request.url.path.endswith("/v1/rerank") else "Ottawa"
    assert json.loads(request.content) == {
        "model": "Cohere-rerank-v4.0-pro",
        "query": QUERY,
        "documents": [expected],
    }


def test_mappings_with_rank_fields_are_sent_whole_only_to_v1(sync_mode: Mode) -> None:
    documents = [{"Title": "Ottawa", "Year": 1857}, {"Title": "Lisbon"}]
    v1 = json.loads(sent_by(sync_mode, MODEL, documents, api_base=SERVERLESS, rank_fields=["Year", "Title"]).content)
    v2 = json.loads(sent_by(sync_mode, MODEL, documents, api_base=FOUNDRY, rank_fields=["Year", "Title"]).content)
    assert (v1["documents"], v1["rank_fields"]) == (documents, ["Year", "Title"])
    assert v2["documents"] == ["Year: 1857\nTitle: Ottawa\n", "Title: Lisbon\n"]
    assert "rank_fields" not in v2


@pytest.mark.parametrize(
    ("base", "option", "version"),
    [
        (FOUNDRY, "max_chunks_per_doc", "v2"),
        (f"{SERVERLESS}/v2", "max_chunks_per_doc", "v2"),
        (f"{FOUNDRY}/v1", "priority", "v1"),
    ],
)
def test_option_of_the_other_version_raises_before_sending(base: str, option: str, version: str, mode: Mode) -> None:
    given: dict[str, Any] = {option: 3}
    with pytest.raises(BadRequestError, match=f"{option}: not in Cohere's {version} API") as caught:
        sent_by(mode, MODEL, api_base=base, **given)
    assert caught.value.status_code is None


@pytest.mark.parametrize(("base", "limit"), [(FOUNDRY, 1000), (f"{SERVERLESS}/v2/rerank", 1000), (SERVERLESS, 999)])
def test_max_documents_depends_on_the_version(base: str, limit: int) -> None:
    assert connect(MODEL, api_base=base).max_documents({}) == limit


@pytest.mark.parametrize("value", ["Authorization", "api_key", True])
def test_unknown_key_header_raises_before_sending(value: Any, mode: Mode) -> None:
    with pytest.raises(ConfigurationError, match="azure_key_header must be 'authorization' or 'api-key'"):
        sent_by(mode, MODEL, api_base=FOUNDRY, azure_key_header=value)


@pytest.mark.parametrize("name", ["authorization", "Authorization", "api-key", "Api-Key"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"azure_key_header": "api-key"},
        {"api_key": None},
        {"api_key": None, "azure_ad_token": TOKEN},
        {"api_key": None, "azure_ad_token_provider": lambda: TOKEN},
    ],
    ids=["key", "key in api-key", "nothing", "token", "token provider"],
)
def test_auth_header_of_the_caller_replaces_every_credential(name: str, options: dict[str, Any], mode: Mode) -> None:
    request = sent_by(mode, MODEL, api_base=FOUNDRY, headers={name: "OWN"}, **options)
    credentials = {
        header: request.headers[header] for header in ("authorization", "api-key") if header in request.headers
    }
    assert credentials == {name.lower(): "OWN"}


@pytest.mark.parametrize(
    ("variable", "options"),
    [
        ("AZURE_AD_TOKEN", {"api_key": TOKEN}),
        ("AZURE_AD_TOKEN", {"azure_ad_token": TOKEN}),
        ("AZURE_AD_TOKEN", {"azure_ad_token_provider": lambda: TOKEN}),
        ("AZURE_AI_API_KEY", {"azure_ad_token": TOKEN}),
        ("AZURE_AI_API_KEY", {"azure_ad_token_provider": lambda: TOKEN}),
    ],
)
def test_argument_takes_precedence_over_the_environment(
    variable: str, options: dict[str, Any], mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "from-the-environment")
    request = sent_by(mode, MODEL, api_base=FOUNDRY, **{"api_key": None, **options})
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_token_provider_is_called_once_per_request(mode: Mode) -> None:
    numbers = count(1)
    replay = Replay(answering(ANSWER).exchanges * 2)
    reranker = mode.reranker(
        MODEL,
        api_key=None,
        api_base=FOUNDRY,
        azure_ad_token_provider=lambda: f"{TOKEN}-{next(numbers)}",
        http_client=replay.client(mode),
    )
    for _ in range(2):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert [request.headers["authorization"] for request in replay.seen] == [f"Bearer {TOKEN}-1", f"Bearer {TOKEN}-2"]
    assert next(numbers) == 3


def refusing() -> str:
    raise RuntimeError(f"tenant said no to {TOKEN}")


def test_failing_token_provider_raises_without_its_message(mode: Mode) -> None:
    with pytest.raises(
        AuthenticationError, match="no Entra ID token: azure_ad_token_provider raised RuntimeError"
    ) as caught:
        sent_by(mode, MODEL, api_base=FOUNDRY, api_key=None, azure_ad_token_provider=refusing)
    assert caught.value.status_code is None
    assert (caught.value.provider, caught.value.model) == ("azure_ai", "Cohere-rerank-v4.0-pro")
    assert not leaks(caught.value, [TOKEN, "tenant said no"])


def test_token_provider_after_the_timeout_raises_timeout_error(mode: Mode) -> None:
    with pytest.raises(APITimeoutError):
        sent_by(mode, MODEL, api_base=FOUNDRY, api_key=None, azure_ad_token_provider=lambda: TOKEN, timeout=1e-9)


@pytest.mark.parametrize("token", [None, "", " ", "two\nlines"])
def test_unusable_token_raises_before_sending(token: Any, mode: Mode) -> None:
    with pytest.raises(AuthenticationError) as caught:
        sent_by(mode, MODEL, api_base=FOUNDRY, api_key=None, azure_ad_token_provider=lambda: token)
    assert caught.value.status_code is None


@pytest.mark.parametrize(
    ("secret", "options", "environment"),
    [
        (TOKEN, {"azure_ad_token": TOKEN}, {}),
        (TOKEN, {}, {"AZURE_AD_TOKEN": TOKEN}),
        (TOKEN, {"azure_ad_token_provider": lambda: TOKEN}, {}),
        (KEY, {"api_key": KEY, "azure_key_header": "api-key"}, {}),
        (TOKEN, {"headers": {"api-key": "own-key"}, "azure_ad_token": TOKEN}, {}),
    ],
)
@pytest.mark.parametrize("status", [401, 500])
def test_error_that_quotes_a_credential_is_withheld(
    *,
    secret: str,
    options: dict[str, Any],
    environment: dict[str, str],
    status: int,
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    replay = answering({"error": {"code": "401", "message": f"Bearer {secret} or {secret} is wrong"}}, status)
    options = {"api_key": None, "api_base": FOUNDRY, "http_client": replay.client(mode), **options}
    reranker = mode.reranker(MODEL, **options)
    with pytest.raises(RerankError, match=f"{status}: .*withheld") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert not leaks(caught.value, [secret])
    assert secret not in repr(reranker)
    assert len(replay.seen) == 1


class Credential:
    """Replaces the credential of azure-identity, which would call Entra ID."""

    made: list[Credential]

    def __init__(self) -> None:
        self.scopes: list[tuple[str, ...]] = []
        self.made.append(self)

    def get_token(self, *scopes: str, **options: Any) -> Any:
        from azure.core.credentials import AccessToken

        self.scopes.append(scopes)
        return AccessToken(TOKEN, int(time.time()) + 3600)


Put = Callable[[type[Credential]], list[Credential]]


@pytest.fixture
def default_credential(monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Replaces `azure.identity.DefaultAzureCredential` by a class; the list receives its instances."""
    pytest.importorskip("azure.identity")

    def put(kind: type[Credential]) -> list[Credential]:
        kind.made = []
        monkeypatch.setattr("azure.identity.DefaultAzureCredential", kind)
        return kind.made

    azure_ai.default_token_provider.cache_clear()
    yield put
    azure_ai.default_token_provider.cache_clear()


@pytest.mark.parametrize(
    ("base", "scope"),
    [
        (FOUNDRY, "https://cognitiveservices.azure.com/.default"),
        (f"{FOUNDRY}/v1/rerank", "https://cognitiveservices.azure.com/.default"),
        (SERVERLESS, "https://ml.azure.com/.default"),
        ("https://gw.example/v2", "https://ml.azure.com/.default"),
    ],
)
def test_default_credential_is_created_once_with_the_scope_of_the_endpoint(
    base: str, scope: str, mode: Mode, default_credential: Put
) -> None:
    made = default_credential(Credential)
    replay = Replay(answering(ANSWER).exchanges * 2)
    options = {"api_key": None, "api_base": base, "azure_ad_token_provider": "default"}
    reranker = mode.reranker(MODEL, http_client=replay.client(mode), **options)
    for _ in range(2):
        assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 3
    assert [request.headers["authorization"] for request in replay.seen] == [f"Bearer {TOKEN}"] * 2
    assert [credential.scopes for credential in made] == [[(scope,)]]


class Refused(Credential):
    def get_token(self, *scopes: str, **options: Any) -> Any:
        from azure.core.exceptions import ClientAuthenticationError

        raise ClientAuthenticationError(f"tenant said no to {TOKEN}")


class FailsToStart(Credential):
    def __init__(self) -> None:
        raise ValueError(f"tenant said no to {TOKEN}")


@pytest.mark.parametrize("kind", [Refused, FailsToStart])
def test_failing_default_credential_raises_authentication_error(
    kind: type[Credential], mode: Mode, default_credential: Put
) -> None:
    default_credential(kind)
    with pytest.raises(AuthenticationError, match="no Entra ID token") as caught:
        sent_by(mode, MODEL, api_base=FOUNDRY, api_key=None, azure_ad_token_provider="default")
    assert not leaks(caught.value, [TOKEN, "tenant said no"])


def test_missing_azure_identity_names_the_extra(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    azure_ai.default_token_provider.cache_clear()
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'anyrerank\[azure\]'"):
        sent_by(mode, MODEL, api_base=FOUNDRY, api_key=None, azure_ad_token_provider="default")


@pytest.mark.parametrize(
    ("host", "right"),
    [
        ("res.cognitiveservices.azure.com", "res.services.ai.azure.com"),
        ("res.openai.azure.com", "res.services.ai.azure.com"),
        ("res.openai.azure.us", "res.services.ai.azure.us"),
        ("eastus.api.cognitive.microsoft.com", "<resource>.services.ai.azure.com"),
        ("ai.azure.com", "<resource>.services.ai.azure.com"),
    ],
)
def test_other_host_of_a_resource_is_an_error_that_names_the_right_one(host: str, right: str, mode: Mode) -> None:
    with pytest.raises(ConfigurationError, match=rf"api_base='https://{right}'"):
        sent_by(mode, MODEL, api_base=f"https://{host}/openai/v1")
