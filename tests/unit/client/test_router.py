"""A router from the caller's side: its names and options, hooks, copies, many queries and the framework adapters."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from tests.support.clock import Clock
from tests.support.frameworks import FACES, KINDS, Face, Wire, refusing
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode
from tests.support.loopback import Loopback
from tests.support.routing import World, Worlds, entry, fails, ids, status

from anyrerank import (
    BadRequestError,
    Budget,
    ConfigurationError,
    FallbackError,
    GuardrailRaisedError,
    RerankResponse,
    Router,
    llama_index,
)
from anyrerank.hooks import CallEvent

T = TypeVar("T")


def pickled(given: T) -> T:
    """A copy of `given`, as another process would get it."""
    found: T = pickle.loads(pickle.dumps(given))  # noqa: S301
    return found


# Names.


def test_an_alias_is_another_name(world: Worlds) -> None:
    here = world()
    router = here.router(model_group_alias={"alias": "r"})
    response = here.ask(router, "alias")
    assert (ids(response), response.model_group) == (["a"], "r")
    assert router.model_names == ("r", "alias")


@pytest.mark.parametrize("name", ["nobody", "", "R"])
def test_an_unknown_name_is_refused_with_the_known_ones(world: Worlds, name: str) -> None:
    here = world()
    error = here.error(here.router(), name)
    assert type(error) is BadRequestError
    assert repr(name) in error.message
    assert error.message.endswith("it has r")


def test_a_single_name_need_not_be_given() -> None:
    entries = [entry("a"), entry("b", "spare")]
    assert Router(entries, fallbacks={"r": ["spare"]}).as_reranker().deployment == "r"
    with pytest.raises(BadRequestError, match="r, spare"):
        Router(entries).as_reranker()


def test_no_documents_send_no_request(world: Worlds) -> None:
    here = world()
    response = here.ask(here.router(), documents=[])
    assert (list(response.results), response.model_group, response.attempts, here.asked) == ([], "r", (), [])


def test_blank_documents_come_back_unranked_without_a_request(world: Worlds) -> None:
    here = world()
    response = here.ask(here.router(), documents=["", " "])
    assert (response.degraded, response.results.scores, here.asked) == (True, (None, None), [])


# Hooks and guardrails.


def test_a_call_that_sent_nothing_is_one_to_the_first_deployment(world: Worlds) -> None:
    events: list[CallEvent] = []
    here = world()
    entries = [entry("j", api_key=None, model="jina_ai/m"), entry("v", api_key=None, model="voyage/m")]
    here.error(here.router(*entries, hooks=[events.append]))
    assert [(event.provider, event.model) for event in events] == [("jina_ai", "m")]


def test_hooks_get_one_event_per_call(world: Worlds) -> None:
    events: list[CallEvent] = []
    here = world(a=fails(401))
    entries = [entry("k", api_key=None, model="jina_ai/m"), entry("a", model="cohere/first"), entry("b")]
    here.ask(here.router(*entries, hooks=[events.append]), user="ann")
    (event,) = events
    assert (event.model_group, event.provider, event.model, event.user) == ("r", "cohere", "first", "ann")
    assert [attempt.model_id for attempt in event.attempts] == ["a", "b"]
    assert event.response is not None
    assert (event.response.model, event.error) == ("rerank-v3.5", None)


def test_hooks_get_the_error_of_a_failed_call(world: Worlds, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyrerank")
    events: list[CallEvent] = []
    here = world(a=fails(401), b=fails(401))
    error = here.error(here.router(hooks=[events.append]))
    (event,) = events
    assert (event.error, len(event.attempts)) == (error, 2)
    assert isinstance(error, FallbackError)
    assert pickled(error).attempts == error.attempts
    record = caplog.records[-1]
    assert record.anyrerank["model_group"] == "r"  # type: ignore[attr-defined]


def test_guardrails_run_once_per_call(world: Worlds) -> None:
    seen: list[str] = []

    def look(query: str) -> str:
        seen.append(query)
        return "masked"

    here = world(a=fails(), b=fails())
    here.ask(here.router(entry("a"), entry("b"), entry("x", "x"), default_fallbacks=["x"], guardrails=[look]))
    assert seen == [QUERY]
    assert {json.loads(request.content)["query"] for request in here.requests} == {"masked"}


def test_a_guardrail_that_fails_ends_the_call(world: Worlds) -> None:
    def broken(query: str) -> str:
        raise ValueError(query)

    here = world()
    assert type(here.error(here.router(guardrails=[broken]))) is GuardrailRaisedError
    assert here.asked == []


# Copies.


def router_to_copy(url: str) -> Router:
    entries = [entry("a", api_base=url, rpm=1), entry("b", "spare", api_base=url, budget=Budget(1.0))]
    return Router(entries, fallbacks={"r": ["spare"]}, model_group_alias={"alias": "r"}, top_n=1)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_has_the_same_deployments_and_starts_without_load(
    mode: Mode, server: Loopback, copied: Callable[[Router], Router]
) -> None:
    here = World(mode, Clock())
    original = router_to_copy(server.url)
    assert [ids(here.ask(original, "alias")) for _ in range(2)] == [["a"], ["b"]]
    with pytest.warns(RuntimeWarning, match="counts on its own"):
        other = copied(original)
    assert (repr(other), other.model_names) == (repr(original), original.model_names)
    assert [each.requests for each in other.deployment_status()] == [0, 0]
    mode.run(original.aclose()) if mode.asynchronous else original.close()
    response = here.ask(other)
    assert (ids(response), len(response.results)) == (["a"], 1)
    assert [each.requests for each in original.deployment_status()] == [1, 1]
    mode.run(other.aclose()) if mode.asynchronous else other.close()
    assert server.wait_until_no_connection()


def test_a_copy_warns_of_its_own_fallbacks(
    sync_world: Worlds, server: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    original = router_to_copy(server.url)
    here = sync_world()
    with pytest.warns(RuntimeWarning, match="counts on its own"):
        copied = pickled(original)
    with original, copied as other:
        for router in (original, other):
            assert [ids(here.ask(router)) for _ in range(2)] == [["a"], ["b"]]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


def test_copies_choose_independently() -> None:
    local: dict[str, Any] = {"model": "local/lexical", "api_key": None, "api_base": None}
    data = pickle.dumps(Router([entry("a", **local), entry("b", **local)]))
    chosen = [
        [ids(router.rerank("r", QUERY, DOCUMENTS))[0] for _ in range(64)] for router in map(pickle.loads, (data, data))
    ]
    assert chosen[0] != chosen[1]


def test_a_routed_model_can_be_copied(server: Loopback) -> None:
    routed = router_to_copy(server.url).as_reranker("alias")
    with pytest.warns(RuntimeWarning, match="counts on its own"):
        copies = (copy.deepcopy(routed), pickled(routed))
    for other in copies:
        with other:
            assert ids(other.rerank(QUERY, DOCUMENTS)) == ["a"]
            assert repr(other) == "RoutedModel('r')"


def test_no_repr_shows_a_key() -> None:
    router = router_to_copy("http://user:secret@a.test")
    shown = [router, router.as_reranker("r"), *router.deployment_status(), *vars(router).values()]
    assert not [text for text in map(repr, shown) if KEY in text or "secret" in text]
    assert repr(router) == "Router(r: 1, spare: 1)"


# Many queries.


def test_rerank_many_asks_for_each_query(world: Worlds) -> None:
    here = world(a=fails())
    router = here.router()
    given: tuple[Any, ...] = ("r", ["one", "two", " "], [DOCUMENTS] * 3)
    if here.mode.asynchronous:
        found = here.mode.run(router.arerank_many(*given, return_exceptions=True, fallbacks=[]))
    else:
        found = router.rerank_many(*given, return_exceptions=True, fallbacks=[])
    assert [type(each) for each in found] == [RerankResponse, RerankResponse, BadRequestError]
    assert [ids(each) for each in found if isinstance(each, RerankResponse)] == [["a", "b"]] * 2


# The framework adapters.

TEXTS = ["low 0.1", "high 0.9", "middle 0.5"]


@pytest.mark.parametrize("face", FACES, ids=str)
@pytest.mark.parametrize("model", [None, "r", "x"])
def test_an_adapter_takes_a_router(face: Face, model: str | None, clock: Clock) -> None:
    wire = Wire(lambda request: Wire().answer(request) if request.url.host != "a.test" else refusing(503)(request))
    events: list[CallEvent] = []
    client = wire.client(asynchronous=face.asynchronous)
    entries = [entry("a"), entry("b"), entry("x", "x")]
    router = Router(entries, http_client=client, fallbacks={"r": ["x"]}, hooks=[events.append])
    adapter = face.make(reranker=router, model=model, api_key=None, max_retries=2, top_n=2)
    assert [text for text, _ in face.ranked(adapter, TEXTS)] == ["high 0.9", "middle 0.5"]
    hosts = [request.url.host for request in wire.requests]
    assert hosts == (["x.test"] if model == "x" else ["a.test", "b.test"])
    assert events[0].model_group == (model or "r")


@pytest.mark.parametrize("face", KINDS, ids=str)
def test_an_adapter_of_a_router_can_be_copied(face: Face) -> None:
    router = Router([{"model_name": "r", "litellm_params": {"model": "local/lexical"}}])
    adapter = face.make(reranker=router, model="r", api_key=None, max_retries=2, fuse=None)
    for other in (copy.deepcopy(adapter), pickled(adapter)):
        assert face.ranked(other, TEXTS, query="high")[0][0] == "high 0.9"


@pytest.mark.parametrize("face", KINDS, ids=str)
def test_an_adapter_of_a_router_refuses_an_unknown_name(face: Face) -> None:
    router = Router([entry("a"), entry("x", "x")])
    for name in (None, "y"):
        with pytest.raises(BadRequestError, match="r, x"):
            face.make(reranker=router, model=name, api_key=None, max_retries=2)


def test_an_adapter_of_a_router_cannot_be_serialized(world: Worlds) -> None:
    """Read again, it would be a reranker without its guardrails and budgets."""
    router = world().router(entry("a", "cohere/rerank-v3.5"), guardrails=[str.upper])
    adapter = llama_index.AnyRerank(reranker=router, model="cohere/rerank-v3.5")
    with pytest.raises(ConfigurationError, match="router"):
        adapter.to_dict()


def test_deployment_status_shows_load_and_cooldown(world: Worlds) -> None:
    here = world(a=fails(401))
    router = here.router(entry("a"), entry("b", rpm=5))
    here.ask(router)
    assert (status(router).cooldown, status(router).requests, status(router).in_flight) == (5.0, 1, 0)
    assert (status(router, "b").cooldown, status(router, "b").requests) == (0.0, 1)
    assert (status(router).model_name, status(router).deployment) == ("r", "cohere/rerank-v3.5")
    assert pickled(router.deployment_status()) == router.deployment_status()
