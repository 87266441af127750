"""Names with asterisks in a `model_list`: which model is asked, and what its models share."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.frameworks import Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY

from anyrerank import BadRequestError, BudgetExceededError, ConfigurationError, RerankError, Router
from anyrerank._core.http import Transport
from anyrerank._core.routing import Cooldowns, MemoryState, groups_of
from anyrerank._core.routing.load import Risk, Terms
from anyrerank._core.routing.state import Outcome
from anyrerank._core.routing.window import Need

pytestmark = pytest.mark.usefixtures("clock")


def entry(name: str, model: str | None = None, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model or name, "api_key": KEY, **params}}


ANY: dict[str, Any] = {"model_name": "*", "litellm_params": {"model": "*"}}


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def made(wire: Wire) -> Iterator[Callable[..., Router]]:
    """Makes routers."""
    with httpx.Client(transport=httpx.MockTransport(wire)) as client:
        yield lambda *entries, **options: Router(entries, http_client=client, **options)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment."""
    monkeypatch.setenv("COHERE_API_KEY", KEY)


def test_the_text_in_place_of_the_asterisk_is_the_model(made: Callable[..., Router], wire: Wire) -> None:
    router = made(entry("cohere/*"))
    response = router.rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS)
    assert (wire.body["model"], response.model_group) == ("rerank-v3.5", "cohere/rerank-v3.5")
    assert router.model_names == ("cohere/*",)
    assert repr(router) == "Router(cohere/*: 1)"


@pytest.mark.parametrize(
    ("given", "asked", "sent"),
    [
        (ANY, "cohere/rerank-v3.5", "rerank-v3.5"),
        (entry("*", "cohere/*"), "rerank-v3.5", "rerank-v3.5"),
        (entry("mine/*", "cohere/*"), "mine/a-b", "a-b"),
        (entry("mine-*-x", "cohere/rerank-*"), "mine-v3.5-x", "rerank-v3.5"),
        (entry("mine/*", "cohere/rerank-v3.5"), "mine/any", "rerank-v3.5"),
        (entry("mine/*", "*", custom_llm_provider="cohere"), "mine/a", "a"),
        (entry("*/*", "cohere/*"), "cohere/any", "any"),
        (entry("cohere/*", "cohere/*"), "rerank-v3.5", "rerank-v3.5"),
    ],
)
def test_asterisks_are_filled_in_as_in_litellm(
    made: Callable[..., Router], wire: Wire, given: dict[str, Any], asked: str, sent: str
) -> None:
    made(given).rerank(asked, QUERY, DOCUMENTS)
    assert wire.body["model"] == sent


def test_a_name_comes_before_an_alias_and_the_most_specific_wildcard(made: Callable[..., Router], wire: Wire) -> None:
    router = made(
        entry("*", "cohere/*"),
        entry("cohere/*", "cohere/second-*"),
        entry("cohere/own", "cohere/named"),
        model_group_alias={"cohere/alias": "cohere/own"},
    )
    for name in ("cohere/own", "cohere/alias", "cohere/x", "y"):
        router.rerank(name, QUERY, DOCUMENTS)
    assert [body["model"] for body in wire.bodies] == ["named", "named", "second-x", "y"]


@pytest.mark.parametrize("name", ["jina_ai/x", "cohere/*", "cohere/", "cohere/../x", "cohere/a?b", "cohere/a b", "x"])
def test_a_name_that_no_wildcard_stands_for_is_refused(made: Callable[..., Router], wire: Wire, name: str) -> None:
    with pytest.raises(BadRequestError):
        made(entry("cohere/*")).rerank(name, QUERY, DOCUMENTS)
    assert wire.requests == []


@pytest.mark.parametrize("name", ["openai/gpt", "nobody", "local/lexical"])
def test_a_wildcard_for_everything_refuses_what_cannot_be_asked(made: Callable[..., Router], name: str) -> None:
    with pytest.raises(BadRequestError):
        made(ANY).rerank(name, QUERY, DOCUMENTS)


def test_a_wildcard_for_everything_has_no_key_which_would_go_to_any_provider(made: Callable[..., Router]) -> None:
    with pytest.raises(ConfigurationError, match="sent to every provider"):
        made(entry("*"))
    assert made(entry("*", api_base="http://own.test")).model_names == ("*",)
    assert made(entry("*", custom_llm_provider="cohere")).model_names == ("*",)


@pytest.mark.parametrize(
    ("given", "name"),
    [(ANY, "os.environ/SECRET"), (entry("mine/*", "*", api_base="http://own.test"), "mine/os.environ/SECRET")],
)
def test_a_caller_cannot_read_the_environment(
    made: Callable[..., Router], monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], name: str
) -> None:
    monkeypatch.setenv("SECRET", "cohere/hidden-value")
    with pytest.raises(BadRequestError) as caught:
        made(given).rerank(name, QUERY, DOCUMENTS)
    assert "hidden-value" not in str(caught.value)


def test_a_model_with_an_asterisk_may_come_from_a_variable(
    made: Callable[..., Router], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL", "cohere/*")
    made(entry("mine/*", "os.environ/MODEL")).rerank("mine/a", QUERY, DOCUMENTS)
    assert wire.body["model"] == "a"


def test_models_of_a_wildcard_cool_down_separately(made: Callable[..., Router], wire: Wire) -> None:
    well = wire.answer
    wire.answer = lambda request: httpx.Response(404) if b"retired" in request.content else well(request)
    router = made(entry("cohere/*"), num_retries=0)
    with pytest.raises(RerankError):
        router.rerank("cohere/retired", QUERY, DOCUMENTS)
    assert router.rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS).attempts[0].model_id == "cohere/*-1"
    cooling = {each.model_name: each.cooldown > 0 for each in router.deployment_status()}
    assert cooling == {"cohere/retired": True, "cohere/rerank-v3.5": False}


def test_models_of_a_wildcard_share_its_budget(made: Callable[..., Router]) -> None:
    router = made(entry("cohere/*", max_budget=0.003))
    router.rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS)
    with pytest.raises(BudgetExceededError):
        router.rerank("cohere/rerank-english-v3.0", QUERY, DOCUMENTS)


def test_models_of_a_wildcard_share_the_limit_of_concurrent_requests() -> None:
    groups = groups_of([entry("cohere/*", max_parallel_requests=1)], {}, Transport())
    found = [groups.find(name) for name in ("cohere/a", "cohere/b")]
    first, second = (group.entries[0].deployment.slots for group in found if group is not None)
    assert first is not None
    assert first is second


def test_entries_of_one_wildcard_share_the_load(made: Callable[..., Router], wire: Wire) -> None:
    router = made(
        entry("cohere/*", api_base="http://a.test", rpm=1), entry("cohere/*", api_base="http://b.test", rpm=1)
    )
    for _ in range(2):
        router.rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS)
    assert {request.url.host for request in wire.requests} == {"a.test", "b.test"}


def test_fallbacks_of_a_wildcard_are_those_of_its_models(made: Callable[..., Router], wire: Wire) -> None:
    wire.answer = lambda _: httpx.Response(401)
    router = made(
        entry("cohere/*"),
        {"model_name": "spare", "litellm_params": {"model": "local/lexical"}},
        fallbacks=[{"cohere/*": ["spare"]}, {"cohere/other": ["cohere/next", "spare"]}],
    )
    assert router.rerank("cohere/rerank-v3.5", QUERY, DOCUMENTS).model == "lexical"
    router.rerank("cohere/other", QUERY, DOCUMENTS)
    assert [body["model"] for body in wire.bodies] == ["rerank-v3.5", "other", "next"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fallbacks": [{"cohere/a": ["cohere/*"]}]}, "stands for any model"),
        ({"fallbacks": [{"cohere/a": ["jina_ai/x"]}]}, "there is no model named"),
    ],
    ids=["wildcard", "unknown"],
)
def test_a_fallback_that_is_no_model_is_refused(
    made: Callable[..., Router], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        made(entry("cohere/*"), **options)


@pytest.mark.parametrize("params", [{"weight": -1}, {"api_base": "nowhere"}, {"max_budget": "much"}])
def test_a_wrong_entry_with_a_wildcard_is_refused_at_once(made: Callable[..., Router], params: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"model_list\[0\] \(cohere/\*\): "):
        made(entry("cohere/*", **params))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda router: pickle.loads(pickle.dumps(router))])  # noqa: S301
def test_a_copy_serves_the_same_wildcards(copied: Callable[[Router], Router]) -> None:
    router = copied(Router([{"model_name": "local/*", "litellm_params": {"model": "local/*"}}]))
    assert router.rerank("local/lexical", QUERY, DOCUMENTS).model == "lexical"
    assert KEY not in repr(vars(copied(Router([entry("cohere/*")]))))


def test_a_name_of_a_wildcard_is_another_name_for_any_call(made: Callable[..., Router], wire: Wire) -> None:
    well = wire.answer
    wire.answer = lambda request: httpx.Response(401) if b"first" in request.content else well(request)
    router = made(entry("cohere/*"), model_group_alias={"alias": "cohere/first"})
    response = router.rerank("alias", QUERY, DOCUMENTS, fallbacks=["cohere/second"])
    assert (response.model, response.model_group) == ("second", "cohere/first")
    assert router.as_reranker("cohere/third").rerank(QUERY, DOCUMENTS).model == "third"


def test_threads_that_ask_many_names_get_the_one_that_they_ask() -> None:
    router = Router([{"model_name": "*-local", "litellm_params": {"model": "local/lexical"}}])

    def ask(number: int) -> bool:
        return router.rerank(f"{number}-local", QUERY, DOCUMENTS).model_group == f"{number}-local"

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, [*range(1200), *range(1200)]))
    assert len(router.deployment_status()) <= 1000


def test_idle_deployments_are_forgotten_before_there_are_too_many(clock: Clock) -> None:
    state = MemoryState(Cooldowns(allowed_fails=3, cooldown_time=5.0))
    claim = state.claim("used", Terms(), Need(), Risk.NONE)
    assert claim is not None
    state.settle(claim, Outcome(seconds=0.1, requests=1, tokens=None, answered=True, failure=None))
    state.snapshot([str(number) for number in range(25_000)])
    assert len(state._records) <= 10_000
    assert state.snapshot(["used"]).loads["used"].requests == 1
