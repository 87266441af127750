"""What both frameworks' adapters keep: keys, options that change, copies, and nothing that others could read."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from pydantic_core import PydanticSerializationError
from tests.support.frameworks import COHERE, FACES, KINDS, LOCAL, NVIDIA, Face, Wire
from tests.support.harness import KEY
from tests.support.loopback import Loopback

from anyrerank import AuthenticationError, BadRequestError, ConfigurationError, Reranker

ITEMS = ["c 0.3", "a 0.9", "b 0.5"]
RANKED = ["a 0.9", "b 0.5", "c 0.3"]
LOOPBACK_ITEMS = ["low 9", "high 0", "middle 4"]
LOOPBACK_RANKED = [("high 0", 1.0), ("middle 4", 0.2), ("low 9", 0.1)]


@pytest.fixture(params=FACES, ids=str)
def face(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.fixture(params=KINDS, ids=lambda face: face.framework)
def framework(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


def _keys(wire: Wire) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in wire.requests]


def test_the_environment_is_read_when_an_adapter_is_made(
    face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for value in ("first", "second"):
        monkeypatch.setenv("COHERE_API_KEY", value)
        made.append(face.make(wire, api_key=None))
    monkeypatch.setenv("COHERE_API_KEY", "third")
    for adapter in made:
        face.rerank(adapter, ITEMS)
    assert _keys(wire) == ["first", "second"]


@pytest.mark.parametrize("variable", ["COHERE_API_KEY", "CO_API_KEY"])
def test_every_variable_of_a_provider_counts(
    face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "from-environment")
    face.rerank(face.make(wire, api_key=None), ITEMS)
    assert _keys(wire) == ["from-environment"]


def test_a_key_that_is_given_wins(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "from-environment")
    face.rerank(face.make(wire, api_key=SecretStr(KEY)), ITEMS)
    assert _keys(wire) == [KEY]


def test_without_a_key_the_first_call_names_the_variables(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, api_key=None)
    with pytest.raises(AuthenticationError, match="COHERE_API_KEY or CO_API_KEY"):
        face.rerank(adapter, ITEMS)
    assert wire.requests == []


def test_a_key_may_come_later(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = face.make(wire, api_key=None)
    with pytest.raises(AuthenticationError):
        face.rerank(adapter, ITEMS)
    monkeypatch.setenv("COHERE_API_KEY", "late")
    face.rerank(adapter, ITEMS)
    assert _keys(wire) == ["late"]


def test_making_one_sends_nothing(framework: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the network was used")

    for name in ("socket.socket.connect", "socket.getaddrinfo", "httpx.Client.send"):
        monkeypatch.setattr(name, no_network)
    adapter = framework.kind(model=NVIDIA, base_url="http://nim.invalid:8000")
    assert adapter.model == NVIDIA


@pytest.mark.parametrize(
    "wrong", [{"model": "nobody/model"}, {"model": "rerank-v3.5"}, {"model": COHERE, "http_client": "client"}], ids=str
)
def test_a_wrong_setting_is_refused_when_an_adapter_is_made(framework: Face, wrong: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, BadRequestError)):
        framework.kind(**wrong)


def test_other_spellings(face: Face, wire: Wire) -> None:
    face.rerank(face.make(wire, model="rerank-v3.5", custom_llm_provider="cohere", base_url="http://proxy/"), ITEMS)
    face.rerank(face.make(wire, model="rerank-v3.5", provider="cohere", api_base="http://proxy/"), ITEMS)
    assert {str(request.url) for request in wire.requests} == {"http://proxy/v2/rerank"}
    assert {body["model"] for body in wire.bodies} == {"rerank-v3.5"}


def _assigned(adapter: Any, **changes: Any) -> Any:
    for name, value in changes.items():
        setattr(adapter, name, value)
    return adapter


def _updated(adapter: Any, **changes: Any) -> Any:
    return adapter.model_copy(update=changes)


CHANGES = [pytest.param(_assigned, id="assigned"), pytest.param(_updated, id="model_copy")]


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_take_effect(face: Face, wire: Wire, change: Callable[..., Any], used: bool) -> None:
    original = face.make(wire)
    if used:
        face.rerank(original, ITEMS)
        wire.requests.clear()
    changed = change(original, model="cohere/rerank-v4.0-pro", top_n=2, api_base="http://b", api_key=SecretStr("new"))
    assert face.ranked(changed, ITEMS) == [("a 0.9", 0.9), ("b 0.5", 0.5)]
    assert wire.body == {"model": "rerank-v4.0-pro", "query": wire.body["query"], "documents": ITEMS, "top_n": 2}
    assert str(wire.requests[0].url) == "http://b/v2/rerank"
    assert _keys(wire) == ["new"]
    if changed is not original:
        wire.requests.clear()
        assert [text for text, _ in face.ranked(original, ITEMS)] == RANKED
        assert (wire.body["model"], _keys(wire)) == ("rerank-v3.5", [KEY])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_client_or_reranker_takes_effect(face: Face, wire: Wire, change: Callable[..., Any]) -> None:
    other = Wire()
    adapter = face.make(wire)
    face.rerank(adapter, ITEMS)
    adapter = change(adapter, http_client=other.client(asynchronous=face.asynchronous))
    face.rerank(adapter, ITEMS)
    assert (len(wire.requests), len(other.requests)) == (1, 1)
    adapter = change(adapter, reranker=Reranker(LOCAL, top_n=1), model=None)
    assert len(face.rerank(adapter, ITEMS, "a")) == 1
    assert (len(wire.requests), len(other.requests)) == (1, 1)


@pytest.mark.parametrize("change", CHANGES)
def test_a_key_as_a_plain_string_takes_effect(face: Face, wire: Wire, change: Callable[..., Any]) -> None:
    face.rerank(change(face.make(wire), api_key="plain"), ITEMS)
    assert _keys(wire) == ["plain"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_key_from_the_environment_stays_with_its_provider(
    face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any]
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "of-cohere")
    monkeypatch.setenv("NVIDIA_API_KEY", "of-nvidia")
    adapter = change(face.make(wire, api_key=None), model=NVIDIA)
    face.rerank(adapter, ITEMS)
    assert _keys(wire) == ["of-nvidia"]


@pytest.mark.parametrize("source", ["argument", "environment"])
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_no_secret_can_be_read(
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
def test_no_secret_in_the_error_of_a_wrong_argument(framework: Face, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError) as caught:
        framework.kind(**{"model": COHERE, "api_key": KEY, "headers": {"x-secret": "header-5Gk2"}, **wrong})
    shown = f"{caught.value} {caught.value!r}"
    assert KEY not in shown
    assert "header-5Gk2" not in shown


def test_no_secret_in_an_error_of_a_call(face: Face) -> None:
    wire = Wire(lambda request: httpx.Response(401, json={"message": request.headers["authorization"]}))
    with pytest.raises(AuthenticationError) as caught:
        face.rerank(face.make(wire), ITEMS)
    assert KEY not in f"{caught.value} {caught.value!r}"


def _pickled(adapter: Any) -> Any:
    return pickle.loads(pickle.dumps(adapter))  # noqa: S301


COPIES = [pytest.param(_pickled, id="pickle"), pytest.param(copy.deepcopy, id="deepcopy"), copy.copy]


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_works_like_the_original(face: Face, server: Loopback, copied: Callable[[Any], Any], used: bool) -> None:
    original = face.make(api_base=server.url, headers={"x-team": "search"}, top_n=3)
    if used:
        assert face.ranked(original, LOOPBACK_ITEMS) == LOOPBACK_RANKED
    twin = copied(original)
    server.hits.clear()
    for adapter in (twin, original):
        assert face.ranked(adapter, LOOPBACK_ITEMS) == LOOPBACK_RANKED
    assert [hit.headers["authorization"] for hit in server.hits] == [f"Bearer {KEY}"] * 2
    assert [hit.headers["x-team"] for hit in server.hits] == ["search"] * 2
    assert twin.model_dump() == original.model_dump()
    for adapter in (twin, original):
        adapter._core().close()


def test_a_deep_copy_keeps_a_callers_client(face: Face, wire: Wire) -> None:
    client: httpx.Client | httpx.AsyncClient = httpx.AsyncClient() if face.asynchronous else httpx.Client()
    client._transport = httpx.MockTransport(wire)
    twin = copy.deepcopy(face.make(http_client=client))
    face.rerank(twin, ITEMS)
    assert twin.http_client is client
    assert len(wire.requests) == 1


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_one_with_a_ready_reranker(face: Face, server: Loopback, copied: Callable[[Any], Any]) -> None:
    reranker = Reranker(COHERE, api_key=KEY, top_n=1, api_base=server.url)
    twin = copied(face.make(reranker=reranker))
    assert face.ranked(twin, LOOPBACK_ITEMS) == LOOPBACK_RANKED[:1]
    assert [hit.headers["authorization"] for hit in server.hits] == [f"Bearer {KEY}"]
    twin._core().close()


def test_an_attempt_to_pickle_leaves_the_original_as_it_was(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, text_fn=face.text)
    face.rerank(adapter, ITEMS)
    with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError):
        pickle.dumps(adapter)
    face.rerank(adapter, ITEMS)
    assert len(wire.requests) == 2


def test_equal_when_the_fields_are(framework: Face) -> None:
    made = framework.make(top_n=2)
    made._core()
    assert made == framework.make(top_n=2)
    assert made != framework.make(top_n=3)
    assert made != framework.make(top_n=2, api_key="other")


def test_reranking_keeps_nothing_on_the_adapter(face: Face, wire: Wire) -> None:
    adapter = face.make(wire)
    face.rerank(adapter, ITEMS)
    state = repr((vars(adapter), adapter.__pydantic_private__, vars(adapter._core())))
    assert not [text for text in ITEMS if text in state]


def test_a_login_in_the_base_is_refused_because_dumps_would_show_it(framework: Face) -> None:
    with pytest.raises(BadRequestError, match="Authorization header") as caught:
        framework.make(api_base="https://ann:hunter2@host.test/v2")
    assert "hunter2" not in str(caught.value)


def test_a_field_that_is_changed_in_place_takes_effect(framework: Face, wire: Wire) -> None:
    adapter = framework.make(wire, options={"max_tokens_per_doc": 1}, headers={"x-team": "a"})
    framework.rerank(adapter, ["a 0.1"])
    adapter.options["max_tokens_per_doc"] = 2
    adapter.headers["x-team"] = "b"
    framework.rerank(adapter, ["a 0.1"])
    assert [body["max_tokens_per_doc"] for body in wire.bodies] == [1, 2]
    assert [request.headers["x-team"] for request in wire.requests] == ["a", "b"]


SECRET = "p5Gk2-of-the-query"


def test_the_query_string_of_the_base_is_in_no_repr(framework: Face, wire: Wire) -> None:
    adapter = framework.make(wire, api_base=f"http://proxy.test/v2?version=1&api_key={SECRET}")
    assert "api_base='http://proxy.test/v2'" in repr(adapter)
    assert SECRET not in f"{adapter!r} {adapter}"
    framework.rerank(adapter, ITEMS)
    assert wire.requests[0].url.params["api_key"] == SECRET


@pytest.mark.parametrize(
    "name", ["key", "Subscription-Key", "access_token", "CODE", "sig", "client_secret", "Password"]
)
def test_a_secret_in_the_query_string_of_the_base_is_not_dumped(framework: Face, name: str) -> None:
    adapter = framework.make(api_base=f"http://proxy.test/v2?version=1&{name}={SECRET}")
    written = adapter.to_json if framework.framework == "langchain" else adapter.to_dict
    with pytest.raises(ConfigurationError, match=rf"{name} in its query string.*headers= or credentials=") as caught:
        written()
    with pytest.raises(PydanticSerializationError, match="query string") as dumped:
        adapter.model_dump_json()
    assert SECRET not in f"{caught.value} {dumped.value}"


@pytest.mark.parametrize("query", ["version=1", "design=b", "encoding=utf-8", "max_tokens=5", "monkey=1"])
def test_another_query_string_of_the_base_is_dumped(framework: Face, query: str) -> None:
    adapter = framework.make(api_base=f"http://proxy.test/v2?{query}")
    assert adapter.model_dump()["api_base"] == f"http://proxy.test/v2?{query}"
