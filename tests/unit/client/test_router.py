"""A router from the caller's side: who is asked, who is asked next, what is waited for, what is left when all fails."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import Random
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.clock import Clock as BaseClock
from tests.support.clock import replace_waits
from tests.support.frameworks import FACES, KINDS, Answer, Face, Wire, in_turn, refusing
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, leaks
from tests.support.loopback import Line, Loopback

from anyrerank import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    FallbackError,
    GuardrailRaisedError,
    InternalServerError,
    MemoryCache,
    RateLimitError,
    RerankError,
    RerankResponse,
    Router,
    llama_index,
)
from anyrerank._core.routing import STRATEGIES
from anyrerank.guardrails import DenyList
from anyrerank.hooks import CallEvent

T = TypeVar("T")

COHERE = "cohere/rerank-v3.5"
ALMOST_1 = 1 - 2**-53


class Clock(BaseClock):
    """A clock that knows how long a request may take."""

    def __init__(self) -> None:
        super().__init__(time.monotonic())

    def left(self, request: httpx.Request) -> float:
        """Seconds that a request may take, by this clock."""
        allowed: float = request.extensions["timeout"]["read"]
        return allowed - (self.now - time.monotonic())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """No wait takes any time; the clock moves instead."""
    made = Clock()
    replace_waits(monkeypatch, made.wait)
    return made


def ok(request: httpx.Request) -> httpx.Response:
    found = json.loads(request.content)["documents"]
    rows = [{"index": place, "relevance_score": 1 / (2 + place)} for place in range(len(found))]
    return httpx.Response(200, json={"results": rows, "meta": {"billed_units": {"search_units": 1}}})


def fails(status: int = 500, **headers: str) -> Answer:
    return lambda request: httpx.Response(status, headers=headers, json={"message": "no"})


def limited(seconds: float) -> Answer:
    return fails(429, **{"retry-after": str(seconds)})


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def not_json(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>")


def entry(name: str, group: str = "r", **params: Any) -> dict[str, Any]:
    """The deployment on the host `name`."""
    connection = {"model": COHERE, "api_base": f"http://{name}.test", "api_key": f"{KEY}-{name}"}
    return {"model_name": group, "litellm_params": {**connection, **params}, "model_info": {"id": name}}


class World:
    """Servers by the names of their hosts, in one mode; keeps who was asked, and when."""

    def __init__(self, mode: Mode, clock: Clock, **answers: Answer) -> None:
        self.mode, self.clock = mode, clock
        self.answers = answers
        self.asked: list[str] = []
        self.times: list[float] = []
        self.requests: list[httpx.Request] = []
        self.client = mode.client(transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.partition(".")[0]
        self.asked.append(name)
        self.times.append(self.clock.now)
        self.requests.append(request)
        return self.answers.get(name, ok)(request)

    def router(self, *entries: Mapping[str, Any], **options: Any) -> Router:
        """One that takes the first where chance decides."""
        given = {"http_client": self.client, "clock": self.clock, "chance": lambda: 0.0, **options}
        return Router(entries or [entry("a"), entry("b")], **given)

    def ask(
        self, router: Router, model: str = "r", query: Any = QUERY, documents: Any = DOCUMENTS, **overrides: Any
    ) -> RerankResponse:
        if self.mode.asynchronous:
            return self.mode.run(router.arerank(model, query, documents, **overrides))
        return router.rerank(model, query, documents, **overrides)

    def error(self, router: Router, model: str = "r", **given: Any) -> RerankError:
        """What a call raises; nothing of the caller's is in it."""
        with pytest.raises(RerankError) as caught:
            self.ask(router, model, **given)
        assert not leaks(caught.value, [KEY, QUERY, *DOCUMENTS])
        return caught.value

    def drop(self) -> list[str]:
        """Who was asked since the last time."""
        found, self.asked[:] = list(self.asked), []
        return found


Worlds = Callable[..., World]


@pytest.fixture
def world(mode: Mode, clock: Clock) -> Worlds:
    return lambda **answers: World(mode, clock, **answers)


@pytest.fixture
def sync_world(sync_mode: Mode, clock: Clock) -> Worlds:
    return lambda **answers: World(sync_mode, clock, **answers)


def pickled(given: T) -> T:
    """A copy of `given`, as another process would get it."""
    found: T = pickle.loads(pickle.dumps(given))  # noqa: S301
    return found


def ids(response: RerankResponse | FallbackError) -> list[str | None]:
    return [attempt.model_id for attempt in response.attempts]


def standing(router: Router, name: str = "a") -> Any:
    (found,) = (each for each in router.standings() if each.model_id == name)
    return found


# Who is asked.


def test_deployments_share_a_name(world: Worlds) -> None:
    here = world()
    chances = iter([0.0, 0.99, 0.0])
    router = here.router(chance=lambda: next(chances))
    responses = [here.ask(router) for _ in range(3)]
    assert here.asked == ["a", "b", "a"]
    assert [ids(response) for response in responses] == [["a"], ["b"], ["a"]]
    for response in responses:
        assert (response.model_group, response.provider, response.model) == ("r", "cohere", "rerank-v3.5")
        assert response.results.indexes == (0, 1, 2)


def test_each_deployment_has_its_own_key_headers_and_options(world: Worlds) -> None:
    here = world(a=fails())
    router = here.router(
        entry("a", extra_headers={"x-team": "blue"}),
        entry("b", max_tokens_per_doc=99, extra_body={"extra": 1}),
    )
    here.ask(router)
    first, second = here.requests
    assert first.headers["authorization"] == f"Bearer {KEY}-a"
    assert (first.headers.get("x-team"), second.headers.get("x-team")) == ("blue", None)
    assert second.headers["authorization"] == f"Bearer {KEY}-b"
    assert json.loads(second.content).items() >= {"max_tokens_per_doc": 99, "extra": 1}.items()
    assert "max_tokens_per_doc" not in json.loads(first.content)


def test_an_option_of_the_call_wins_over_that_of_a_deployment(world: Worlds) -> None:
    here = world()
    here.ask(here.router(entry("a", max_tokens_per_doc=99)), max_tokens_per_doc=5)
    assert json.loads(here.requests[0].content)["max_tokens_per_doc"] == 5


@pytest.mark.parametrize(("terms", "shares"), [("weight", (3, 1)), ("rpm", (900, 300)), ("tpm", (9000, 3000))])
def test_simple_shuffle_follows_the_shares(sync_world: Worlds, terms: str, shares: tuple[Any, Any]) -> None:
    here = sync_world()
    steps = count()
    router = here.router(
        entry("a", **{terms: shares[0]}), entry("b", **{terms: shares[1]}), chance=lambda: (next(steps) % 40 + 0.5) / 40
    )
    for _ in range(40):
        here.ask(router)
    assert Counter(here.asked) == {"a": 30, "b": 10}


def test_the_lowest_order_is_used_as_long_as_it_can_be(world: Worlds, clock: Clock) -> None:
    here = world(b=limited(10))
    router = here.router(entry("a", order=2), entry("b", order=1))
    assert ids(here.ask(router)) == ["b", "a"]
    assert ids(here.ask(router)) == ["a"]
    here.answers["b"] = ok
    clock.now += 10
    assert ids(here.ask(router)) == ["b"]


PRICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "per query": ({"input_cost_per_query": 0.5}, {"input_cost_per_query": 0.002}),
    "per token": ({"input_cost_per_token": 1.0}, {"input_cost_per_token": 1e-9}),
    "per query against per token": ({"input_cost_per_query": 0.5}, {"input_cost_per_token": 1e-9}),
    "own against the list": ({"input_cost_per_query": 0.003}, {}),
    "free": ({}, {"input_cost_per_query": 0.0}),
    "unknown": ({"model": "cohere/nobody-knows"}, {"input_cost_per_query": 99.0}),
}


@pytest.mark.parametrize(("dear", "cheap"), list(PRICES.values()), ids=list(PRICES))
@pytest.mark.parametrize("where", ["litellm_params", "model_info"])
def test_cost_based_routing_knows_every_kind_of_price(
    sync_world: Worlds, dear: dict[str, Any], cheap: dict[str, Any], where: str
) -> None:
    entries = [entry("a"), entry("b")]
    for made, own in zip(entries, (dear, cheap), strict=True):
        for name, value in own.items():
            made["litellm_params" if name == "model" else where][name] = value
    here = sync_world()
    assert ids(here.ask(here.router(*entries, routing_strategy="cost-based-routing"))) == ["b"]


def test_a_missing_key_is_no_reason_for_a_price_to_fail(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", api_key=None), entry("b"), routing_strategy="cost-based-routing")
    assert ids(here.ask(router)) == ["b"]


def test_cost_based_routing_of_unknown_prices_asks_somebody(world: Worlds) -> None:
    here = world()
    entries = [entry(name, model="cohere/nobody-knows") for name in "ab"]
    response = here.ask(here.router(*entries, routing_strategy="cost-based-routing"))
    assert (ids(response), response.cost) == (["a"], None)


def test_latency_based_routing_avoids_what_is_slow(sync_world: Worlds, clock: Clock) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        clock.now += 3.0
        return ok(request)

    here = sync_world(a=slow)
    router = here.router(routing_strategy="latency-based-routing")
    for _ in range(10):
        here.ask(router)
    assert here.asked == ["a", *["b"] * 9]


def test_usage_based_routing_evens_out_what_is_used(sync_world: Worlds) -> None:
    here = sync_world()
    router = here.router(entry("a", rpm=30), entry("b", rpm=10), routing_strategy="usage-based-routing")
    for _ in range(20):
        here.ask(router)
    assert Counter(here.asked) == {"a": 15, "b": 5}


async def test_least_busy_routing_spreads_calls_that_are_under_way(clock: Clock) -> None:
    gate, asked = asyncio.Event(), Counter[str]()

    async def hold(request: httpx.Request) -> httpx.Response:
        asked[request.url.host] += 1
        await gate.wait()
        return ok(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(hold)) as client:
        router = Router([entry(name) for name in "abc"], routing_strategy="least-busy", http_client=client, clock=clock)
        calls = [asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS)) for _ in range(9)]
        while asked.total() < 9:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert asked == {f"{name}.test": 3 for name in "abc"}
        assert [each.in_flight for each in router.standings()] == [3, 3, 3]
        gate.set()
        await asyncio.gather(*calls)
    assert [each.in_flight for each in router.standings()] == [0, 0, 0]


# Who is asked next.

SURVIVABLE: dict[str, Answer] = {
    **{str(status): fails(status) for status in (401, 402, 403, 404, 408, 424, 429, 498, 500, 501, 502, 503, 504, 529)},
    "unreachable": unreachable,
    "not JSON": not_json,
}


@pytest.mark.parametrize("answer", list(SURVIVABLE.values()), ids=list(SURVIVABLE))
def test_a_failure_goes_to_another_deployment_at_once(world: Worlds, clock: Clock, answer: Answer) -> None:
    here = world(a=answer)
    response = here.ask(here.router())
    assert (ids(response), clock.waits) == (["a", "b"], [])
    assert response.attempts[0].error is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.floats(0.0, ALMOST_1), min_size=12, max_size=12), st.integers(0, 3), st.integers(2, 4))
def test_a_dead_deployment_is_never_asked_twice_while_a_healthy_one_idles(
    sync_world: Worlds, clock: Clock, chances: list[float], num_retries: int, size: int
) -> None:
    here = sync_world(a=fails())
    turns = iter(chances * 4)
    names = "abcd"[:size]
    router = here.router(*map(entry, names), num_retries=max(1, num_retries), chance=lambda: next(turns))
    for _ in range(6):
        response = here.ask(router)
        assert ids(response) in ([["a", name] for name in names[1:]] + [[name] for name in names[1:]])
    assert clock.waits == []


@pytest.mark.parametrize("status", [400, 415, 422])
def test_a_bad_request_is_the_callers_and_nobody_elses(world: Worlds, status: int) -> None:
    here = world(a=fails(status))
    router = here.router(entry("a"), entry("b"), entry("spare", "spare"), fallbacks={"r": ["spare"]})
    for _ in range(6):
        error = here.error(router, documents=DOCUMENTS[:1])
        assert (type(error), error.status_code) == (BadRequestError, status)
    assert here.asked == ["a"] * 6
    assert (standing(router).cooling, standing(router).in_flight) == (0.0, 0)


@pytest.mark.parametrize("status", [405, 409, 413, 425])
def test_what_another_deployment_could_survive_goes_to_it(world: Worlds, clock: Clock, status: int) -> None:
    here = world(a=fails(status))
    response = here.ask(here.router(), documents=DOCUMENTS[:1])
    assert (ids(response), clock.waits) == (["a", "b"], [])


def test_a_document_that_is_too_large_for_all_is_no_reason_to_cool_down(world: Worlds) -> None:
    here = world(a=fails(413), b=fails(413))
    router = here.router()
    for _ in range(6):
        here.error(router, documents=DOCUMENTS[:1])
    assert [each.cooling for each in router.standings()] == [0.0, 0.0]


@pytest.mark.parametrize("status", [409, 425])
def test_an_only_deployment_is_asked_again_after_a_conflict(world: Worlds, status: int) -> None:
    answers = [fails(status), ok]

    def answer(request: httpx.Request) -> httpx.Response:
        return answers.pop(0)(request)

    here = world(a=answer)
    assert ids(here.ask(here.router(entry("a")))) == ["a", "a"]


@pytest.mark.parametrize(
    "given",
    [{"query": "  "}, {"query": 5}, {"documents": ["", " "]}, {"documents": "text"}, {"top_n": 0}, {"nonsense": 1}],
    ids=str,
)
def test_a_wrong_call_is_refused_before_anything_is_sent(world: Worlds, given: dict[str, Any]) -> None:
    here = world()
    router = here.router(on_error="passthrough")
    assert type(here.error(router, **given)) is BadRequestError
    assert (here.asked, [each.requests for each in router.standings()]) == ([], [0, 0])


def test_no_documents_are_no_request(world: Worlds) -> None:
    here = world()
    response = here.ask(here.router(), documents=[])
    assert (list(response.results), response.model_group, response.attempts, here.asked) == ([], "r", (), [])


def test_a_missing_key_is_passed_over_and_costs_no_try(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", api_key=None), entry("b"), num_retries=0)
    assert ids(here.ask(router)) == ["b"]
    assert standing(router).cooling == 5.0
    assert [ids(here.ask(router)) for _ in range(2)] == [["b"], ["b"]]


def test_where_every_key_is_missing_it_says_so(world: Worlds) -> None:
    here = world()
    error = here.error(here.router(entry("a", api_key=None)))
    assert type(error) is AuthenticationError
    assert "COHERE_API_KEY" in str(error)
    assert isinstance(here.error(here.router(entry("a", api_key=None), entry("b", api_key=None))), FallbackError)


def test_the_only_deployment_is_tried_again_after_a_while(world: Worlds, clock: Clock) -> None:
    here = world(a=fails(503))
    router = here.router(entry("a"), chance=lambda: 0.5)
    error = here.error(router)
    assert here.asked == ["a"] * 3
    assert clock.waits == pytest.approx([0.375, 0.75])
    assert isinstance(error, FallbackError)
    assert ids(error) == ["a"] * 3


def test_what_will_not_pass_is_not_tried_again_at_the_only_deployment(world: Worlds, clock: Clock) -> None:
    here = world(a=fails(401))
    assert type(here.error(here.router(entry("a")))) is AuthenticationError
    assert (here.asked, clock.waits) == (["a"], [])


@pytest.mark.parametrize("num_retries", [0, 1, 2, 3, 7])
def test_num_retries_is_the_number_of_tries_after_the_first(world: Worlds, num_retries: int) -> None:
    here = world(a=fails(), b=fails())
    error = here.error(here.router(num_retries=num_retries, timeout=None))
    assert Counter(here.asked).total() == 1 + num_retries
    assert here.asked[:2] == ["a", "b"][: 1 + num_retries]
    assert isinstance(error, FallbackError) is (num_retries > 0)
    here.drop()
    here.error(here.router(), num_retries=num_retries, timeout=None)
    assert len(here.asked) == 1 + num_retries


def test_a_single_try_that_fails_is_raised_as_it_is(world: Worlds) -> None:
    here = world(a=fails(), b=fails())
    error = here.error(here.router(num_retries=0))
    assert (type(error), error.status_code, error.provider) == (InternalServerError, 500, "cohere")


def test_when_all_fail_one_error_holds_all(world: Worlds) -> None:
    here = world(a=fails(503), b=fails(401), c=unreachable)
    error = here.error(here.router(entry("a"), entry("b"), entry("c", "spare"), fallbacks=[{"r": ["spare"]}]))
    assert isinstance(error, FallbackError)
    assert [type(each) for each in error.errors][:2] == [InternalServerError, AuthenticationError]
    assert {type(each) for each in error.errors[2:]} == {APIConnectionError}
    assert [(each.model_id, each.status) for each in error.attempts][:3] == [("a", 503), ("b", 401), ("c", None)]
    assert pickled(error).attempts == error.attempts


def test_a_back_off_is_drawn_once(world: Worlds, clock: Clock) -> None:
    here = world(a=fails(503))
    chances = iter([0.0, 0.0, 0.9, 0.9, 0.9, 0.9])
    here.error(here.router(entry("a"), chance=lambda: next(chances), num_retries=1))
    assert clock.waits == pytest.approx([0.25])


def test_retry_after_is_waited_before_another_try(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    assert ids(here.ask(here.router(retry_after=0.7))) == ["a", "b"]
    assert clock.waits == [0.7]


def test_retry_after_is_not_waited_past_the_deadline(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    assert type(here.error(here.router(retry_after=7.0, timeout=5.0))) is InternalServerError
    assert (here.asked, clock.waits) == (["a"], [])


def test_a_call_of_many_requests_is_tried_again_request_by_request(world: Worlds, clock: Clock) -> None:
    here = world(a=in_turn(ok, fails(), ok, ok))
    response = here.ask(here.router(entry("a")), batch_size=1, max_concurrency=1)
    assert [attempt.status for attempt in response.attempts] == [200, 500, 200, 200]
    assert len(clock.waits) == 1
    here.answers["a"] = fails()
    here.drop()
    assert type(here.error(here.router(entry("a")), batch_size=1, max_concurrency=1)) is InternalServerError
    assert here.asked == ["a"] * 3


# What cools down.


def test_a_deployment_that_fails_too_often_cools_down(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    router = here.router(allowed_fails=2, cooldown_time=30)
    for _ in range(5):
        here.ask(router)
    assert here.drop() == ["a", "b", "a", "b", "a", "b", "b", "b"]
    assert standing(router).cooling == pytest.approx(30)
    clock.now += 29
    assert ids(here.ask(router)) == ["b"]
    clock.now += 1.1
    assert ids(here.ask(router)) == ["a", "b"]
    assert ids(here.ask(router)) == ["b"]
    here.answers["a"] = ok
    clock.now += 31
    assert [ids(here.ask(router)) for _ in range(2)] == [["a"], ["a"]]


def test_failures_that_are_far_apart_are_borne(sync_world: Worlds, clock: Clock) -> None:
    here = sync_world(a=fails())
    router = here.router()
    for _ in range(12):
        assert ids(here.ask(router)) == ["a", "b"]
        clock.now += 20.0


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_what_the_next_call_would_meet_too_cools_down_at_once(world: Worlds, status: int) -> None:
    here = world(a=fails(status))
    router = here.router()
    assert [ids(here.ask(router)) for _ in range(3)] == [["a", "b"], ["b"], ["b"]]
    assert standing(router).cooling == 5.0


def test_a_server_that_asks_for_time_gets_it(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(40))
    router = here.router()
    here.ask(router)
    here.answers["a"] = ok
    clock.now += 39.5
    assert ids(here.ask(router)) == ["b"]
    clock.now += 0.6
    assert ids(here.ask(router)) == ["a"]


def test_other_calls_know_at_once_that_the_only_deployment_is_limited(
    sync_world: Worlds, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = sync_world(a=limited(10))
    router = here.router(entry("a"), num_retries=1)
    states: list[float] = []

    def wait(seconds: float) -> None:
        states.append(standing(router).cooling)
        here.answers["a"] = ok
        clock.now += seconds

    monkeypatch.setattr(time, "sleep", wait)
    assert ids(here.ask(router)) == ["a", "a"]
    assert states == [pytest.approx(10.0)]


def test_where_everything_failed_somebody_is_tried_all_the_same(world: Worlds, clock: Clock) -> None:
    here = world(a=fails(401), b=fails(403))
    router = here.router()
    here.error(router)
    here.answers.clear()
    assert (ids(here.ask(router)), clock.waits) == (["a"], [])


def test_the_only_deployment_is_tried_again_though_it_cools_down(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    router = here.router(entry("a"), allowed_fails=0, cooldown_time=50)
    for _ in range(3):
        here.error(router)
    assert len(here.asked) == 9
    assert max(clock.waits) <= 1.0


def test_where_everything_asked_for_time_it_is_waited_for(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(20), b=limited(12))
    router = here.router(num_retries=1)
    here.error(router)
    here.answers.clear()
    here.drop()
    assert ids(here.ask(router)) == ["b"]
    assert clock.waits == pytest.approx([12.0])


@pytest.mark.parametrize("timeout", [0.05, 5.0, 12.0])
def test_where_waiting_would_be_too_long_one_error_says_how_long(world: Worlds, clock: Clock, timeout: float) -> None:
    here = world(a=limited(20), b=limited(12.5))
    router = here.router(num_retries=1)
    here.error(router)
    here.drop()
    error = here.error(router, timeout=timeout)
    assert type(error) is RateLimitError
    assert error.retry_after == pytest.approx(12.5)
    assert "every deployment of r cools down or is at its limit; the first is free in 12.5 s" in str(error)
    assert (here.asked, clock.waits) == ([], [])


def test_a_failure_beside_a_limit_is_told_with_it(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", rpm=1), entry("b"), timeout=5.0)
    here.ask(router)
    here.answers["b"] = fails(401)
    error = here.error(router)
    assert isinstance(error, FallbackError)
    assert [type(each) for each in error.errors] == [AuthenticationError, RateLimitError]
    assert error.errors[1].retry_after == pytest.approx(60.0)


def test_more_than_a_minute_is_not_waited_for(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(61))
    router = here.router(entry("a"), timeout=None)
    assert type(here.error(router)) is RateLimitError
    error = here.error(router)
    assert (type(error), clock.waits) == (RateLimitError, [])
    assert error.retry_after == pytest.approx(61)


def test_rather_than_wait_a_fallback_is_asked(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(3), b=limited(4))
    router = here.router(entry("a"), entry("b"), entry("c", "spare"), fallbacks={"r": ["spare"]})
    assert ids(here.ask(router)) == ["a", "b", "c"]
    assert ids(here.ask(router)) == ["c"]
    assert clock.waits == []


def test_a_fallback_is_asked_rather_than_wait_for_an_only_deployment_that_asks_for_time(
    world: Worlds, clock: Clock
) -> None:
    here = world(a=limited(3))
    router = here.router(entry("a"), entry("c", "spare"), fallbacks={"r": ["spare"]})
    assert (ids(here.ask(router)), clock.waits) == (["a", "c"], [])


def test_an_only_deployment_is_tried_again_before_a_fallback(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    router = here.router(entry("a"), entry("c", "spare"), fallbacks={"r": ["spare"]}, timeout=None)
    assert ids(here.ask(router)) == ["a", "a", "a", "c"]
    assert len(clock.waits) == 2


async def test_one_call_at_a_time_tries_what_cooled_down(clock: Clock) -> None:
    gate, asked = asyncio.Event(), list[str]()
    status = 500

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host[0])
        if request.url.host != "a.test":
            return ok(request)
        await gate.wait()
        return ok(request) if status == 200 else httpx.Response(status, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        entries = [entry("a"), entry("b", order=2)]
        router = Router(entries, http_client=client, clock=clock, allowed_fails=0)

        async def five() -> list[str]:
            asked.clear()
            gate.clear()
            calls = [asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS)) for _ in range(5)]
            for _ in range(50):
                await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*calls)
            return sorted(asked)

        assert await five() == ["a"] * 5 + ["b"] * 5
        clock.now += 5.1
        assert await five() == ["a"] + ["b"] * 5
        clock.now += 5.1
        status = 200
        assert await five() == ["a"] + ["b"] * 4
        assert await five() == ["a"] * 5


async def test_a_call_that_finds_the_only_deployment_limited_while_another_is_under_way(clock: Clock) -> None:
    gate, asked = asyncio.Event(), list[str]()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["query"])
        if asked[-1] == "slow":
            await gate.wait()
            return ok(request)
        return httpx.Response(429, headers={"retry-after": "30"}, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        router = Router([entry("a")], http_client=client, clock=clock, timeout=10.0)
        slow = asyncio.create_task(router.arerank("r", "slow", DOCUMENTS))
        while not asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
        with pytest.raises(RateLimitError):
            await router.arerank("r", "quick", DOCUMENTS)
        with pytest.raises(RateLimitError) as caught:
            await router.arerank("r", "another", DOCUMENTS)
        gate.set()
        assert (await slow).results
    assert asked == ["slow", "quick"]
    assert caught.value.retry_after == pytest.approx(30.0)


# Limits.


def minutes(times: Sequence[float]) -> list[int]:
    """How many there are in the minute from each on."""
    return [sum(first <= other < first + 60.0 for other in times) for first in times]


def test_no_more_requests_than_rpm_in_any_minute(world: Worlds, clock: Clock) -> None:
    here = world()
    router = here.router(entry("a", rpm=2), timeout=None)
    for _ in range(7):
        here.ask(router)
        clock.now += 7.0
    assert len(here.asked) == 7
    assert max(minutes(here.times)) == 2
    assert clock.waits


def test_tries_count_as_requests(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    router = here.router(entry("a", rpm=2), timeout=None, num_retries=5)
    here.error(router)
    assert len(here.asked) == 6
    assert max(minutes(here.times)) == 2


def test_the_other_deployment_takes_what_is_beyond_a_limit(world: Worlds, clock: Clock) -> None:
    here = world()
    router = here.router(entry("a", rpm=2), entry("b"))
    for _ in range(5):
        here.ask(router)
    assert (here.asked, clock.waits) == (["a", "a", "b", "b", "b"], [])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_request_of_a_call_counts(world: Worlds, size: int) -> None:
    here = world()
    router = here.router(entry("a", rpm=3))
    here.ask(router, batch_size=size)
    assert standing(router).requests == len(here.asked) == [3, 2, 1][size - 1]


def test_tokens_are_held_to_what_the_server_counts(world: Worlds, clock: Clock) -> None:
    def used(request: httpx.Request) -> httpx.Response:
        rows = [{"index": 0, "relevance_score": 0.5}]
        return httpx.Response(200, json={"results": rows, "meta": {"billed_units": {"total_tokens": 60}}})

    here = world(a=used, b=used)
    router = here.router(entry("a", tpm=100), entry("b", tpm=1000))
    for _ in range(4):
        here.ask(router, query="q", documents=["d"])
    assert here.asked == ["a", "a", "b", "b"]
    assert [each.tokens for each in router.standings()] == [120, 120]
    clock.now += 60.0
    here.ask(router, query="q", documents=["d"])
    assert here.asked[-1] == "a"


def test_a_call_larger_than_a_limit_is_not_refused_for_ever(world: Worlds, clock: Clock) -> None:
    here = world()
    router = here.router(entry("a", rpm=1, tpm=1), timeout=None)
    for _ in range(2):
        here.ask(router, batch_size=1)
    assert len(here.asked) == 6
    assert clock.waits == [pytest.approx(60.0)]


def test_boldness_keeps_to_a_limit(world: Worlds, clock: Clock) -> None:
    here = world(a=fails(401))
    router = here.router(entry("a", rpm=4), timeout=30.0)
    here.error(router)
    here.answers.clear()
    error = here.error(router, batch_size=1, documents=[*DOCUMENTS, "Paris"])
    assert type(error) is RateLimitError
    assert error.retry_after == pytest.approx(60.0)


async def test_64_calls_at_once_keep_to_a_limit(clock: Clock) -> None:
    asked: list[float] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(clock.now)
        await asyncio.sleep(0)
        return ok(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        router = Router([entry("a", rpm=10)], http_client=client, clock=clock, timeout=5.0)
        found = await asyncio.gather(
            *(router.arerank("r", QUERY, DOCUMENTS) for _ in range(64)), return_exceptions=True
        )
    assert len(asked) == 10
    assert Counter(type(each) for each in found) == {RerankResponse: 10, RateLimitError: 54}
    assert all(each.retry_after == pytest.approx(60.0) for each in found if isinstance(each, RateLimitError))


def test_calls_of_many_threads_keep_to_a_limit(clock: Clock) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return ok(request)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client, ThreadPoolExecutor(16) as pool:
        entries = [entry("a", rpm=10, order=1), entry("b", rpm=15, order=2), entry("c", order=3)]
        router = Router(entries, http_client=client, clock=clock)
        list(pool.map(lambda _: router.rerank("r", QUERY, DOCUMENTS), range(64)))
    assert Counter(asked) == {"a.test": 10, "b.test": 15, "c.test": 39}
    assert [each.in_flight for each in router.standings()] == [0, 0, 0]


OUTCOMES: dict[str, Answer] = {
    "ok": ok,
    "500": fails(),
    "401": fails(401),
    "503 in 9 s": fails(503, **{"retry-after": "9"}),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 30.0), *[st.sampled_from([*OUTCOMES, "429"])] * 3), min_size=1, max_size=25),
    st.sampled_from([None, 1, 3]),
    st.floats(0.0, ALMOST_1),
)
def test_whatever_happens_the_rules_are_kept(
    sync_world: Worlds, clock: Clock, calls: list[tuple[Any, ...]], rpm: int | None, chance: float
) -> None:
    """Nobody is asked before the time it asked for, or beyond its limit; who can answer does, and nothing is left."""
    here = sync_world()
    asked_for = dict.fromkeys("abc", 0.0)
    terms: dict[str, Any] = {} if rpm is None else {"rpm": rpm}
    router = here.router(entry("a", **terms), entry("b"), entry("c"), chance=lambda: chance, timeout=None)

    def of(name: str, outcome: str) -> Answer:
        def answer(request: httpx.Request) -> httpx.Response:
            assert clock.now >= asked_for[name]
            asked_for[name] = clock.now + {"429": 20.0, "503 in 9 s": 9.0}.get(outcome, 0.0)
            return (limited(20) if outcome == "429" else OUTCOMES[outcome])(request)

        return answer

    for pause, *outcomes in calls:
        clock.now += pause
        here.answers = {name: of(name, outcome) for name, outcome in zip("abc", outcomes, strict=True)}
        can = [name for name, outcome in zip("bc", outcomes[1:], strict=True) if outcome == "ok"]
        able = [name for name in can if clock.now >= asked_for[name]]
        try:
            assert here.ask(router).results
        except RerankError:
            assert not able
        assert {each.in_flight for each in router.standings()} == {0}
    of_a = [when for name, when in zip(here.asked, here.times, strict=True) if name == "a"]
    assert rpm is None or max(minutes(of_a), default=0) <= rpm


# Time.


def hanging(clock: Clock, spent: list[float]) -> Answer:
    """Answers nothing until the time of a request is over."""

    def answer(request: httpx.Request) -> httpx.Response:
        spent.append(clock.left(request))
        clock.now += spent[-1] + 0.01
        raise httpx.ReadTimeout("made by the test")

    return answer


@pytest.mark.parametrize("timeout", [60.0, 6.0])
def test_a_hanging_deployment_leaves_the_others_their_share(world: Worlds, clock: Clock, timeout: float) -> None:
    spent: list[float] = []
    here = world(a=hanging(clock, spent), b=hanging(clock, spent))
    began = clock.now
    router = here.router(entry("a"), entry("b"), entry("c", "spare"), fallbacks={"r": ["spare"]}, timeout=timeout)
    assert ids(here.ask(router)) == ["a", "b", "c"]
    assert spent == pytest.approx([timeout / 3] * 2, abs=0.1)
    assert clock.now - began < timeout * 0.7


@pytest.mark.parametrize("names", [1, 2, 3])
def test_everything_that_hangs_ends_with_the_deadline(world: Worlds, clock: Clock, names: int) -> None:
    spent: list[float] = []
    here = world(**dict.fromkeys("abcdef", hanging(clock, spent)))
    entries = [entry("abcdef"[2 * name + each], f"n{name}") for name in range(names) for each in range(2)]
    router = here.router(*entries, fallbacks={"n0": [f"n{name}" for name in range(1, names)]}, timeout=12.0)
    began = clock.now
    error = here.error(router, "n0")
    assert isinstance(error, FallbackError)
    assert {type(each) for each in error.errors} == {APITimeoutError}
    assert clock.now - began == pytest.approx(12.0, abs=0.5)
    assert here.asked == list("abcdef"[: 2 * names])


def test_a_hanging_only_deployment_leaves_its_fallback_half_of_the_time(world: Worlds, clock: Clock) -> None:
    spent: list[float] = []
    here = world(a=hanging(clock, spent))
    router = here.router(entry("a"), entry("b", "spare"), fallbacks={"r": ["spare"]}, timeout=60.0)
    began = clock.now
    assert ids(here.ask(router)) == ["a", "b"]
    assert clock.now - began == pytest.approx(30.0, abs=1.0)


def test_what_will_not_be_tried_has_no_share(world: Worlds, clock: Clock) -> None:
    spent: list[float] = []
    here = world(a=hanging(clock, spent))
    entries = [*map(entry, "abc"), entry("x", "x")]
    here.error(here.router(*entries, num_retries=0, timeout=60.0))
    assert ids(here.ask(here.router(*entries, num_retries=0, timeout=60.0, default_fallbacks=["x"]))) == ["a", "x"]
    assert spent == pytest.approx([60.0, 30.0], abs=0.1)


def test_each_deployment_has_its_own_timeout(world: Worlds, clock: Clock) -> None:
    spent: list[float] = []
    here = world(a=hanging(clock, spent), b=hanging(clock, spent))
    router = here.router(entry("a", timeout=2), entry("b", timeout=100), num_retries=1)
    here.error(router)
    assert spent == [pytest.approx(2.0, rel=0.05), pytest.approx(58.0, rel=0.05)]
    spent.clear()
    clock.now += 1000
    here.error(here.router(entry("a", timeout=2), num_retries=0, timeout=None))
    assert spent == [pytest.approx(2.0, rel=0.05)]


def test_without_a_timeout_there_is_no_deadline(world: Worlds) -> None:
    here = world(a=fails(), b=fails())
    here.error(here.router(timeout=None))
    for request in here.requests:
        assert request.extensions["timeout"]["read"] in (None, 5.0)


def test_a_tiny_deadline_ends_in_a_timeout(mode: Mode, serve: Callable[..., Loopback]) -> None:
    servers = [serve(lambda line: line.client_left() or None) for _ in range(2)]
    entries = [entry(str(number), api_base=each.url) for number, each in enumerate(servers)]
    with Router(entries, timeout=0.05) as router:
        began = time.monotonic()
        with pytest.raises((FallbackError, APITimeoutError)):
            World.ask(World(mode, Clock()), router)
        assert time.monotonic() - began < 2.0
        assert [each.in_flight for each in router.standings()] == [0, 0]
        if mode.asynchronous:
            mode.run(router.aclose())


# Other names.


@pytest.mark.parametrize("fallbacks", [{"r": ["x", "y"]}, [{"r": ["x", "y"]}], [{"x": ["y"]}, {"r": ("x",)}]], ids=str)
def test_fallbacks_are_asked_in_order(world: Worlds, fallbacks: Any) -> None:
    here = world(a=fails(401), x=fails(401))
    router = here.router(entry("a"), entry("y", "y"), entry("x", "x"), fallbacks=fallbacks)
    response = here.ask(router)
    assert (ids(response), response.model_group) == (["a", "x", "y"], "r")


def test_a_name_without_fallbacks_has_the_default_ones(world: Worlds) -> None:
    here = world(a=fails(401), x=fails(401), y=fails(401))
    entries = [entry("a"), entry("x", "x"), entry("y", "y")]
    for name, asked in (("r", ["a", "x"]), ("x", ["x", "y"]), ("y", ["y", "x"])):
        here.error(here.router(*entries, fallbacks={"x": ["y"]}, default_fallbacks=["x"]), name)
        assert here.drop() == asked


@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_at_most_so_many_fallbacks(world: Worlds, most: int) -> None:
    here = world(**dict.fromkeys("axyz", fails(401)))
    entries = [entry("a"), *(entry(name, name) for name in "xyz")]
    here.error(here.router(*entries, fallbacks={"r": ["x"], "x": ["y", "z"]}, max_fallbacks=most))
    assert here.asked == ["a", "x", "y", "z"][: 1 + most]


def test_a_call_has_fallbacks_of_its_own(world: Worlds) -> None:
    here = world(a=fails(401), x=fails(401))
    entries = [entry("a"), entry("x", "x"), entry("y", "y")]
    router = here.router(*entries, fallbacks={"r": ["x"]}, model_group_alias={"other": "y"})
    assert ids(here.ask(router, fallbacks=["other"])) == ["a", "y"]
    nothing: list[Any] = [[], None]
    for none in nothing:
        here.drop()
        assert type(here.error(router, fallbacks=none)) is AuthenticationError
        assert here.asked == ["a"]
    assert "this router has no model 'z'" in str(here.error(router, fallbacks=["z"]))
    assert "fallbacks is a list of names" in str(here.error(router, fallbacks="y"))


def test_an_alias_is_another_name(world: Worlds) -> None:
    here = world()
    router = here.router(model_group_alias={"alias": "r"})
    response = here.ask(router, "alias")
    assert (ids(response), response.model_group) == (["a"], "r")
    assert router.model_names == ("r", "alias")


@pytest.mark.parametrize("name", ["nobody", "", "R"])
def test_an_unknown_name_is_refused(world: Worlds, name: str) -> None:
    here = world()
    error = here.error(here.router(), name)
    assert type(error) is BadRequestError
    assert str(error) == f"this router has no model {name!r}; it has r"


def test_one_name_needs_no_naming() -> None:
    entries = [entry("a"), entry("b", "spare")]
    assert Router(entries, fallbacks={"r": ["spare"]}).named().deployment == "r"
    with pytest.raises(BadRequestError, match="which model"):
        Router(entries).named()


def test_passing_through_comes_after_everything(world: Worlds, caplog: pytest.LogCaptureFixture) -> None:
    here = world(**dict.fromkeys("abx", fails(401)))
    router = here.router(
        entry("a"), entry("b"), entry("x", "x"), default_fallbacks=["x"], on_error="passthrough", max_retries=2
    )
    response = here.ask(router)
    assert (ids(response), response.degraded, response.model_group) == (["a", "b", "x"], True, "r")
    assert response.results.indexes == (0, 1, 2)
    cooling = [f"{name} (cohere/rerank-v3.5) cools down: AuthenticationError" for name in "abx"]
    messages = [record.getMessage() for record in caplog.records]
    assert [message.partition(": Cohere")[0] for message in messages[:-1]] == cooling
    assert messages[-1].startswith("reranking failed, the incoming order is handed back: FallbackError")


def test_passing_through_where_everything_is_limited(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", rpm=1), on_error="passthrough", timeout=5.0)
    assert not here.ask(router).degraded
    assert here.ask(router).degraded


# What only one of them can do.


def test_an_option_that_only_one_provider_has_is_refused_for_both(world: Worlds) -> None:
    here = world()
    entries = [entry("a"), entry("b", model="nvidia_nim/m")]
    assert "cohere has no option truncate" in str(here.error(here.router(*entries), truncate="END"))
    assert ids(here.ask(here.router(*entries), truncate="END", drop_params=True)) == ["a"]
    with pytest.raises(BadRequestError, match="cohere has no option truncate"):
        here.router(*entries, truncate="END")


def test_what_only_another_deployment_can_take_goes_there(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", model="cohere_compatible/nobody-knows"), entry("b"), num_retries=0)
    assert ids(here.ask(router, score_mode="unit")) == ["b"]
    assert standing(router).cooling == 0.0


# Budgets.


def test_a_deployment_without_budget_is_passed_over(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", max_budget=0.005, budget_duration="1d"), entry("b"), num_retries=0)
    assert [ids(here.ask(router)) for _ in range(4)] == [["a"], ["a"], ["b"], ["b"]]
    assert (standing(router).in_flight, standing(router).requests) == (0, 2)


def test_where_no_budget_is_left_it_says_so(world: Worlds) -> None:
    here = world()
    router = here.router(*(entry(name, max_budget=0.001) for name in "ab"), on_error="passthrough")
    for _ in range(3):
        assert type(here.error(router)) is BudgetExceededError
    assert (here.asked, [each.in_flight for each in router.standings()]) == ([], [0, 0])


def test_a_deployment_without_budget_has_a_fallback(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", budget=Budget(0.001)), entry("x", "x"), default_fallbacks=["x"])
    assert ids(here.ask(router)) == ["x"]


def test_what_failed_gives_its_budget_back(world: Worlds) -> None:
    budget = Budget(0.004)
    here = world(a=fails())
    router = here.router(entry("a", budget=budget), entry("b"))
    for _ in range(3):
        here.ask(router)
    assert budget.spent() == 0.0


def test_a_budget_of_the_call_is_for_everybody(world: Worlds) -> None:
    here = world()
    budgets: list[dict[str, Any]] = [{"budget": Budget(0.001)}, {"user_budget": Budget(0.001), "user": "ann"}]
    for each in budgets:
        assert type(here.error(here.router(), **each)) is BudgetExceededError
        assert type(here.error(here.router(**each))) is BudgetExceededError
    assert here.asked == []


# Hooks, guardrails, cache.


def test_hooks_hear_of_one_call(world: Worlds) -> None:
    events: list[CallEvent] = []
    here = world(a=fails(401))
    entries = [entry("k", api_key=None, model="jina_ai/m"), entry("a", model="cohere/first"), entry("b")]
    here.ask(here.router(*entries, hooks=[events.append]), user="ann")
    (event,) = events
    assert (event.model_group, event.provider, event.model, event.user) == ("r", "cohere", "first", "ann")
    assert [attempt.model_id for attempt in event.attempts] == ["a", "b"]
    assert event.response is not None
    assert (event.response.model, event.error) == ("rerank-v3.5", None)


def test_hooks_hear_of_a_call_that_failed(world: Worlds, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyrerank")
    events: list[CallEvent] = []
    here = world(a=fails(401), b=fails(401))
    error = here.error(here.router(hooks=[events.append]))
    (event,) = events
    assert (event.error, len(event.attempts)) == (error, 2)
    record = caplog.records[-1]
    assert record.anyrerank["model_group"] == "r"  # type: ignore[attr-defined]


def test_guardrails_look_once(world: Worlds) -> None:
    seen: list[str] = []

    def look(query: str) -> str:
        seen.append(query)
        return "masked"

    here = world(a=fails(), b=fails())
    here.ask(here.router(entry("a"), entry("b"), entry("x", "x"), default_fallbacks=["x"], guardrails=[look]))
    assert seen == [QUERY]
    assert {json.loads(request.content)["query"] for request in here.requests} == {"masked"}


def test_a_guardrail_that_refuses_ends_the_call(world: Worlds) -> None:
    def broken(query: str) -> str:
        raise ValueError(query)

    here = world()
    for guardrail in (DenyList(terms=["capital"]), broken):
        assert type(here.error(here.router(guardrails=[guardrail]))) is GuardrailRaisedError
    assert here.asked == []


def test_a_cache_works_through_a_router(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", rpm=3), cache=MemoryCache(), timeout=5.0)
    first = here.ask(router)
    for _ in range(5):
        again = here.ask(router)
        assert (again.cached, again.results, again.cost) == (3, first.results, 0.0)
    assert (len(here.asked), standing(router).requests) == (1, 1)


def test_a_kept_answer_says_nothing_of_a_deployment(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a"), cache=MemoryCache(), allowed_fails=0)
    here.ask(router)
    here.answers["a"] = fails(401)
    here.error(router, query="another")
    (only,) = router._groups["r"]
    for _ in range(3):
        assert here.ask(router).cached == 3
    assert (only.load.on_trial, len(only.load.latencies)) == (True, 2)


def test_the_cost_is_that_of_every_try(world: Worlds) -> None:
    here = world(a=not_json)
    response = here.ask(here.router(entry("a", input_cost_per_query=1.0), entry("b", input_cost_per_query=0.25)))
    assert response.cost == 1.25


# What is left when a call ends in its middle.


class _Stopped(BaseException):
    pass


@pytest.mark.parametrize("kind", [_Stopped, KeyboardInterrupt, ZeroDivisionError])
def test_nothing_is_left_of_a_call_that_is_torn_down(sync_world: Worlds, kind: type[BaseException]) -> None:
    def torn(request: httpx.Request) -> httpx.Response:
        raise kind

    budget = Budget(0.004)
    here = sync_world(a=torn)
    router = here.router(entry("a", budget=budget))
    with pytest.raises(kind):
        here.ask(router)
    assert (standing(router).in_flight, standing(router).cooling, standing(router).requests) == (0, 0.0, 1)
    assert budget.spent() == 0.002  # nobody knows whether it was billed
    here.answers.clear()
    assert ids(here.ask(router)) == ["a"]


async def test_nothing_is_left_of_a_call_that_is_cancelled(serve: Callable[..., Loopback]) -> None:
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(line: Line) -> None:
        loop.call_soon_threadsafe(reached.set)
        line.client_left()

    server = serve(hang)
    async with Router([entry("a", api_base=server.url)]) as router:
        task = asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS))
        await reached.wait()
        assert standing(router).in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (standing(router).in_flight, standing(router).cooling) == (0, 0.0)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
async def test_nothing_is_left_of_many_calls_of_which_some_are_cancelled(clock: Clock, strategy: str) -> None:
    random = Random(5)

    async def answer(request: httpx.Request) -> httpx.Response:
        for _ in range(random.randrange(9)):
            await asyncio.sleep(0)
        return random.choice([ok, ok, fails(), fails(401), limited(3)])(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        entries = [*(entry(name, rpm=40) for name in "abc"), entry("x", "x", max_budget=0.05)]
        router = Router(
            entries,
            routing_strategy=strategy,
            http_client=client,
            clock=clock,
            chance=random.random,
            fallbacks={"r": ["x"]},
        )
        calls = [asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS)) for _ in range(64)]
        for call in calls[::3]:
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)
            call.cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(each) for each in found} >= {RerankResponse, asyncio.CancelledError}
    assert all(isinstance(each, RerankResponse | RerankError | asyncio.CancelledError) for each in found)
    assert {each.in_flight for each in router.standings()} == {0}


async def test_a_call_that_is_cancelled_while_it_waits_holds_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.Event()

    async with httpx.AsyncClient(transport=httpx.MockTransport(ok)) as client:
        router = Router([entry("a", rpm=1)], http_client=client, clock=clock, timeout=None)
        await router.arerank("r", QUERY, DOCUMENTS)

        async def forever(seconds: float, result: object = None) -> None:
            waiting.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio, "sleep", forever)
        task = asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (standing(router).in_flight, standing(router).requests) == (0, 1)


# Copies and processes.


def router_to_copy(url: str) -> Router:
    entries = [entry("a", api_base=url, rpm=1), entry("b", "spare", api_base=url, budget=Budget(1.0))]
    return Router(entries, fallbacks={"r": ["spare"]}, model_group_alias={"alias": "r"}, top_n=1)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_has_the_same_deployments_and_a_fresh_start(
    mode: Mode, server: Loopback, copied: Callable[[Router], Router]
) -> None:
    here = World(mode, Clock())
    original = router_to_copy(server.url)
    assert [ids(here.ask(original, "alias")) for _ in range(2)] == [["a"], ["b"]]
    other = copied(original)
    assert (repr(other), other.model_names) == (repr(original), original.model_names)
    assert [each.requests for each in other.standings()] == [0, 0]
    mode.run(original.aclose()) if mode.asynchronous else original.close()
    response = here.ask(other)
    assert (ids(response), len(response.results)) == (["a"], 1)
    assert [each.requests for each in original.standings()] == [1, 1]
    mode.run(other.aclose()) if mode.asynchronous else other.close()
    assert server.wait_until_no_connection()


def test_copies_choose_for_themselves() -> None:
    kept = pickle.dumps(
        Router(
            [
                entry("a", model="local/lexical", api_key=None, api_base=None),
                entry("b", model="local/lexical", api_key=None, api_base=None),
            ]
        )
    )
    chosen = [
        [ids(router.rerank("r", QUERY, DOCUMENTS))[0] for _ in range(64)] for router in map(pickle.loads, (kept, kept))
    ]
    assert chosen[0] != chosen[1]


def test_a_routed_model_can_be_copied(server: Loopback) -> None:
    routed = router_to_copy(server.url).named("alias")
    for other in (copy.deepcopy(routed), pickled(routed)):
        with other:
            assert ids(other.rerank(QUERY, DOCUMENTS)) == ["a"]
            assert repr(other) == "RoutedModel('r')"


def test_no_representation_shows_a_key() -> None:
    router = router_to_copy("http://user:secret@a.test")
    shown = [router, router.named("r"), *router.standings(), *router._groups["r"], router._balancer]
    assert not [text for text in map(repr, shown) if KEY in text or "secret" in text]
    assert repr(router) == "Router(r: 1, spare: 1)"


# Many queries, and the frameworks.


def test_many_queries(world: Worlds) -> None:
    here = world(a=fails())
    router = here.router()
    given: tuple[Any, ...] = ("r", ["one", "two", " "], [DOCUMENTS] * 3)
    if here.mode.asynchronous:
        found = here.mode.run(router.arerank_many(*given, return_exceptions=True, fallbacks=[]))
    else:
        found = router.rerank_many(*given, return_exceptions=True, fallbacks=[])
    assert [type(each) for each in found] == [RerankResponse, RerankResponse, BadRequestError]
    assert [ids(each) for each in found if isinstance(each, RerankResponse)] == [["a", "b"]] * 2


@pytest.fixture
def routed() -> Callable[..., Router]:
    def make(wire: Wire, face: Face, **options: Any) -> Router:
        client = wire.client(asynchronous=face.asynchronous)
        return Router([entry("a"), entry("b"), entry("x", "x")], http_client=client, chance=lambda: 0.0, **options)

    return make


TEXTS = ["low 0.1", "high 0.9", "middle 0.5"]


@pytest.mark.parametrize("face", FACES, ids=str)
@pytest.mark.parametrize("model", [None, "r", "x"])
def test_an_adapter_takes_a_router(face: Face, model: str | None, routed: Any) -> None:
    wire = Wire(lambda request: Wire().answer(request) if request.url.host != "a.test" else refusing(503)(request))
    events: list[CallEvent] = []
    router = routed(wire, face, fallbacks={"r": ["x"]}, hooks=[events.append])
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
def test_an_adapter_says_which_names_there_are(face: Face) -> None:
    router = Router([entry("a"), entry("x", "x")])
    with pytest.raises(BadRequestError, match="which model"):
        face.make(reranker=router, model=None, api_key=None, max_retries=2)
    with pytest.raises(BadRequestError, match="no model 'y'; it has r, x"):
        face.make(reranker=router, model="y", api_key=None, max_retries=2)


def test_a_cooldown_is_said_once(world: Worlds, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    here = world(a=fails(401))
    router = here.router(entry("a"), entry("b"), chance=lambda: 0.0)
    for _ in range(4):
        here.ask(router)
        clock.now += 10
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.records[0].getMessage().startswith("a (cohere/rerank-v3.5) cools down: AuthenticationError: ")


def test_a_router_cannot_be_written_down(world: Worlds) -> None:
    """What is read again would be a reranker without its guardrails and budgets."""
    router = world().router(entry("a", "cohere/rerank-v3.5"), guardrails=[str.upper])
    adapter = llama_index.AnyRerank(reranker=router, model="cohere/rerank-v3.5")
    with pytest.raises(ConfigurationError, match="a router cannot be written down"):
        adapter.to_dict()
