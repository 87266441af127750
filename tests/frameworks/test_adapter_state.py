"""The state of both adapters: keys, fields that change, and copies."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from tests.support.frameworks import COHERE, LOCAL, NVIDIA, Face, Wire
from tests.support.harness import KEY
from tests.support.loopback import Loopback

from anyrerank import AuthenticationError, Reranker

ITEMS = ["c 0.3", "a 0.9", "b 0.5"]
RANKED = ["a 0.9", "b 0.5", "c 0.3"]
LOOPBACK_ITEMS = ["low 9", "high 0", "middle 4"]
LOOPBACK_RANKED = [("high 0", 1.0), ("middle 4", 0.2), ("low 9", 0.1)]


def _keys(wire: Wire) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in wire.requests]


def test_environment_is_read_at_construction(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for value in ("first", "second"):
        monkeypatch.setenv("COHERE_API_KEY", value)
        made.append(face.make(wire, api_key=None))
    monkeypatch.setenv("COHERE_API_KEY", "third")
    for adapter in made:
        face.rerank(adapter, ITEMS)
    assert _keys(wire) == ["first", "second"]


@pytest.mark.parametrize("variable", ["COHERE_API_KEY", "CO_API_KEY"])
def test_key_is_read_from_each_variable(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "from-environment")
    face.rerank(face.make(wire, api_key=None), ITEMS)
    assert _keys(wire) == ["from-environment"]


def test_key_argument_wins_over_the_environment(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "from-environment")
    face.rerank(face.make(wire, api_key=SecretStr(KEY)), ITEMS)
    assert _keys(wire) == [KEY]


def test_missing_key_is_an_error_of_the_first_call(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, api_key=None)
    with pytest.raises(AuthenticationError, match="COHERE_API_KEY or CO_API_KEY"):
        face.rerank(adapter, ITEMS)
    assert wire.requests == []


def test_key_set_after_construction_is_used(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = face.make(wire, api_key=None)
    with pytest.raises(AuthenticationError):
        face.rerank(adapter, ITEMS)
    monkeypatch.setenv("COHERE_API_KEY", "late")
    face.rerank(adapter, ITEMS)
    assert _keys(wire) == ["late"]


def test_construction_sends_nothing(framework: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the network was used")

    for name in ("socket.socket.connect", "socket.getaddrinfo", "httpx.Client.send"):
        monkeypatch.setattr(name, no_network)
    adapter = framework.kind(model=NVIDIA, base_url="http://nim.invalid:8000")
    assert adapter.model == NVIDIA


def _assigned(adapter: Any, **changes: Any) -> Any:
    for name, value in changes.items():
        setattr(adapter, name, value)
    return adapter


def _updated(adapter: Any, **changes: Any) -> Any:
    return adapter.model_copy(update=changes)


CHANGES = [pytest.param(_assigned, id="assigned"), pytest.param(_updated, id="model_copy")]


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_field_takes_effect(face: Face, wire: Wire, change: Callable[..., Any], used: bool) -> None:
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
def test_changed_client_or_reranker_takes_effect(face: Face, wire: Wire, change: Callable[..., Any]) -> None:
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
def test_changed_key_can_be_a_plain_string(face: Face, wire: Wire, change: Callable[..., Any]) -> None:
    face.rerank(change(face.make(wire), api_key="plain"), ITEMS)
    assert _keys(wire) == ["plain"]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_model_finds_the_key_of_its_provider(
    face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any]
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "of-cohere")
    monkeypatch.setenv("NVIDIA_API_KEY", "of-nvidia")
    adapter = change(face.make(wire, api_key=None), model=NVIDIA)
    face.rerank(adapter, ITEMS)
    assert _keys(wire) == ["of-nvidia"]


def _pickled(adapter: Any) -> Any:
    return pickle.loads(pickle.dumps(adapter))  # noqa: S301


COPIES = [pytest.param(_pickled, id="pickle"), pytest.param(copy.deepcopy, id="deepcopy"), copy.copy]


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("copied", COPIES)
def test_copy_behaves_like_the_original(face: Face, server: Loopback, copied: Callable[[Any], Any], used: bool) -> None:
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


def test_deepcopy_shares_the_http_client(face: Face, wire: Wire) -> None:
    client: httpx.Client | httpx.AsyncClient = httpx.AsyncClient() if face.asynchronous else httpx.Client()
    client._transport = httpx.MockTransport(wire)
    twin = copy.deepcopy(face.make(http_client=client))
    face.rerank(twin, ITEMS)
    assert twin.http_client is client
    assert len(wire.requests) == 1


def test_failed_pickle_leaves_the_original_intact(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, text_fn=face.text)
    face.rerank(adapter, ITEMS)
    with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError):
        pickle.dumps(adapter)
    face.rerank(adapter, ITEMS)
    assert len(wire.requests) == 2


def test_adapters_are_equal_if_their_fields_are(framework: Face) -> None:
    made = framework.make(top_n=2)
    made._core()
    assert made == framework.make(top_n=2)
    assert made != framework.make(top_n=3)
    assert made != framework.make(top_n=2, api_key="other")


def test_repr_shows_the_fields_that_differ_from_their_defaults(framework: Face) -> None:
    assert repr(framework.make(top_n=2)) == f"AnyRerank(top_n=2, max_retries=0, model={COHERE!r})"


def test_adapter_keeps_no_text_of_a_call(face: Face, wire: Wire) -> None:
    adapter = face.make(wire)
    face.rerank(adapter, ITEMS)
    state = repr((vars(adapter), adapter.__pydantic_private__, vars(adapter._core())))
    assert not [text for text in ITEMS if text in state]


def test_field_changed_in_place_takes_effect(framework: Face, wire: Wire) -> None:
    adapter = framework.make(wire, options={"max_tokens_per_doc": 1}, headers={"x-team": "a"})
    framework.rerank(adapter, ["a 0.1"])
    adapter.options["max_tokens_per_doc"] = 2
    adapter.headers["x-team"] = "b"
    framework.rerank(adapter, ["a 0.1"])
    assert [body["max_tokens_per_doc"] for body in wire.bodies] == [1, 2]
    assert [request.headers["x-team"] for request in wire.requests] == ["a", "b"]


def test_close_closes_the_connections_of_sync_calls(framework: Face, server: Loopback) -> None:
    adapter = framework.make(api_base=server.url)
    adapter.close()
    for _ in range(2):
        assert framework.ranked(adapter, LOOPBACK_ITEMS) == LOOPBACK_RANKED
        assert server.settles(1)
        adapter.close()
        assert server.wait_until_no_connection()


async def test_aclose_closes_all_connections(framework: Face, server: Loopback) -> None:
    adapter = framework.make(api_base=server.url)
    await adapter.aclose()
    for _ in range(2):
        framework.rerank(adapter, LOOPBACK_ITEMS)
        assert framework.pairs(await framework.arerank(adapter, LOOPBACK_ITEMS)) == LOOPBACK_RANKED
        assert server.settles(2)
        await adapter.aclose()
        assert await asyncio.to_thread(server.wait_until_no_connection)
