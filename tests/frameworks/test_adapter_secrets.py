"""Secrets of both adapters are in no repr, dump or error."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from pydantic_core import PydanticSerializationError
from tests.support.frameworks import COHERE, FACES, LOCAL, Face, Wire
from tests.support.harness import KEY, Replay

from anyrerank import AuthenticationError, BadRequestError, ConfigurationError, InternalServerError, Reranker

ITEMS = ["c 0.3", "a 0.9", "b 0.5"]


def _keys(wire: Wire) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in wire.requests]


@pytest.mark.parametrize("source", ["argument", "environment"])
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_secrets_are_in_no_repr_or_dump(
    face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch, source: str, used: bool
) -> None:
    if source == "environment":
        monkeypatch.setenv("COHERE_API_KEY", KEY)
    key = KEY if source == "argument" else None
    adapter = face.make(wire, api_key=key, headers={"x-secret": "header-5Gk2"}, fallbacks=["cohere/rerank-v4.0-fast"])
    if used:
        face.rerank(adapter, ITEMS)
        assert _keys(wire) == [KEY]
    shown = [repr(adapter), str(adapter), str(adapter.model_dump()), adapter.model_dump_json(), f"{adapter.api_key}"]
    assert not [text for text in shown if KEY in text or "header-5Gk2" in text]


@pytest.mark.parametrize(
    "wrong",
    [{"model": None}, {"top_n": 0}, {"api_kay": "x"}, {"reranker": Reranker(LOCAL)}, {"api_key": None, "apikey": KEY}],
    ids=["no model", "top_n", "unknown", "both", "misspelt"],
)
def test_secrets_are_in_no_error_of_the_constructor(framework: Face, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError) as caught:
        framework.kind(**{"model": COHERE, "api_key": KEY, "headers": {"x-secret": "header-5Gk2"}, **wrong})
    shown = f"{caught.value} {caught.value!r}"
    assert KEY not in shown
    assert "header-5Gk2" not in shown


def test_secrets_are_in_no_error_of_a_call(face: Face) -> None:
    wire = Wire(lambda request: httpx.Response(401, json={"message": request.headers["authorization"]}))
    with pytest.raises(AuthenticationError) as caught:
        face.rerank(face.make(wire), ITEMS)
    assert KEY not in f"{caught.value} {caught.value!r}"


def test_login_in_api_base_is_refused(framework: Face) -> None:
    with pytest.raises(BadRequestError, match="Authorization header") as caught:
        framework.make(api_base="https://ann:hunter2@host.test/v2")
    assert "hunter2" not in str(caught.value)


SECRET = "p5Gk2-of-the-query"


def test_query_string_of_api_base_is_in_no_repr(framework: Face, wire: Wire) -> None:
    adapter = framework.make(wire, api_base=f"http://proxy.test/v2?version=1&api_key={SECRET}")
    assert "api_base='http://proxy.test/v2'" in repr(adapter)
    assert SECRET not in f"{adapter!r} {adapter}"
    framework.rerank(adapter, ITEMS)
    assert wire.requests[0].url.params["api_key"] == SECRET


@pytest.mark.parametrize(
    "name", ["key", "Subscription-Key", "access_token", "CODE", "sig", "client_secret", "Password"]
)
def test_secret_in_the_query_string_is_not_dumped(framework: Face, name: str) -> None:
    adapter = framework.make(api_base=f"http://proxy.test/v2?version=1&{name}={SECRET}")
    written = adapter.to_json if framework.framework == "langchain" else adapter.to_dict
    with pytest.raises(ConfigurationError, match=rf"{name} in its query string.*headers= or credentials=") as caught:
        written()
    with pytest.raises(PydanticSerializationError, match="query string") as dumped:
        adapter.model_dump_json()
    assert SECRET not in f"{caught.value} {dumped.value}"


@pytest.mark.parametrize("query", ["version=1", "design=b", "encoding=utf-8", "max_tokens=5", "monkey=1"])
def test_harmless_query_string_is_dumped(framework: Face, query: str) -> None:
    adapter = framework.make(api_base=f"http://proxy.test/v2?{query}")
    assert adapter.model_dump()["api_base"] == f"http://proxy.test/v2?{query}"


def test_secret_settings_are_not_dumped(framework: Face) -> None:
    with pytest.raises(BadRequestError, match="aws_secret_access_key"):
        framework.kind(model="bedrock/cohere.rerank-v3-5:0", options={"aws_secret_access_key": "s3cr3t-0123"})
    adapter = framework.kind(
        model="bedrock/cohere.rerank-v3-5:0",
        options={"aws_region_name": "us-west-2"},
        credentials={"aws_access_key_id": "AKIA0123", "aws_secret_access_key": "s3cr3t-0123"},
    )
    assert adapter.model_dump()["options"] == {"aws_region_name": "us-west-2"}
    for shown in (repr(adapter), str(adapter.model_dump()), adapter.model_dump_json()):
        assert "s3cr3t" not in shown
        assert "AKIA" not in shown


def test_secret_added_to_options_later_is_not_dumped(framework: Face) -> None:
    adapter = framework.kind(model="watsonx/x", options={"project_id": "p-1"})
    adapter.options["token"] = "s3cr3t-0123"
    assert adapter.model_dump()["options"] == {"project_id": "p-1"}
    assert "s3cr3t" not in adapter.model_dump_json()


@pytest.mark.parametrize("face", FACES, ids=str)
def test_secret_setting_is_sent_in_plain(face: Face) -> None:
    replay = Replay([{"response": {"status": 500, "json": {}}}])
    transport = httpx.MockTransport(replay)
    client = httpx.AsyncClient(transport=transport) if face.asynchronous else httpx.Client(transport=transport)
    adapter = face.make(
        model="watsonx/x",
        api_base="https://ibm.example",
        project_id="p-1",
        token=SecretStr("t-1"),
        api_key=None,
        http_client=client,
    )
    with pytest.raises(InternalServerError):
        face.rerank(adapter, ["a"])
    assert replay.seen[0].headers["authorization"] == "Bearer t-1"
