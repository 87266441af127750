"""What follows a failure within one name: another deployment at once, or the same one after a while."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.support.frameworks import Answer, in_turn
from tests.support.harness import DOCUMENTS
from tests.support.routing import ALMOST_1, Worlds, entry, fails, ids, not_json, ok, status, unreachable

from anyrerank import AuthenticationError, BadRequestError, FallbackError, InternalServerError

SURVIVABLE: dict[str, Answer] = {
    **{
        str(each): fails(each)
        for each in (400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 422, 424, 425, 429, 451, 498)
    },
    **{str(each): fails(each) for each in (500, 501, 502, 503, 504, 529)},
    "unreachable": unreachable,
    "not JSON": not_json,
}


@pytest.mark.parametrize("answer", list(SURVIVABLE.values()), ids=list(SURVIVABLE))
def test_a_failure_of_one_deployment_asks_another_at_once(world: Worlds, clock: Clock, answer: Answer) -> None:
    here = world(a=answer)
    response = here.ask(here.router(), documents=DOCUMENTS[:1])
    assert (ids(response), clock.waits) == (["a", "b"], [])
    assert response.attempts[0].error is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.floats(0.0, ALMOST_1), min_size=12, max_size=12), st.integers(1, 3), st.integers(2, 4))
def test_a_dead_deployment_is_asked_once_while_another_is_healthy(
    sync_world: Worlds, clock: Clock, numbers: list[float], num_retries: int, size: int
) -> None:
    here, drawn, before = sync_world(a=fails()), iter(numbers * 4), len(clock.waits)
    names = "abcd"[:size]
    router = here.router(*map(entry, names), num_retries=num_retries)
    clock.rng = lambda: next(drawn)
    for _ in range(6):
        response = here.ask(router)
        assert ids(response) in ([["a", name] for name in names[1:]] + [[name] for name in names[1:]])
    assert len(clock.waits) == before


@pytest.mark.parametrize("code", [400, 413, 415, 422])
def test_a_refusal_of_the_request_is_no_reason_to_cool_down(world: Worlds, code: int) -> None:
    here = world(a=fails(code), b=fails(code))
    router = here.router()
    for _ in range(6):
        error = here.error(router, documents=DOCUMENTS[:1])
        assert isinstance(error, FallbackError)
        assert [(type(each), each.status_code) for each in error.errors] == [(BadRequestError, code)] * 2
    assert here.asked == ["a", "b"] * 6
    assert [(each.cooldown, each.in_flight) for each in router.deployment_status()] == [(0.0, 0)] * 2


@pytest.mark.parametrize("code", [409, 425])
def test_an_only_deployment_is_asked_again_after_a_conflict(world: Worlds, code: int) -> None:
    here = world(a=in_turn(fails(code), ok))
    assert ids(here.ask(here.router(entry("a")))) == ["a", "a"]


@pytest.mark.parametrize(
    "given",
    [{"query": "  "}, {"query": 5}, {"documents": "text"}, {"top_n": 0}, {"nonsense": 1}],
    ids=str,
)
def test_a_wrong_call_is_refused_before_anything_is_sent(world: Worlds, given: dict[str, Any]) -> None:
    here = world()
    router = here.router(on_error="passthrough")
    assert type(here.error(router, **given)) is BadRequestError
    assert (here.asked, [each.requests for each in router.deployment_status()]) == ([], [0, 0])


def test_a_missing_key_moves_on_and_costs_no_retry(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", api_key=None), entry("b"), num_retries=0)
    assert ids(here.ask(router)) == ["b"]
    assert status(router).cooldown == 5.0
    assert [ids(here.ask(router)) for _ in range(2)] == [["b"], ["b"]]


def test_a_missing_key_of_every_deployment_raises_an_error_that_names_the_variable(world: Worlds) -> None:
    here = world()
    error = here.error(here.router(entry("a", api_key=None)))
    assert type(error) is AuthenticationError
    assert "COHERE_API_KEY" in str(error)
    assert isinstance(here.error(here.router(entry("a", api_key=None), entry("b", api_key=None))), FallbackError)


def test_an_only_deployment_is_retried_with_back_off(world: Worlds, clock: Clock) -> None:
    here = world(a=fails(503))
    clock.rng = lambda: 0.5
    error = here.error(here.router(entry("a")))
    assert here.asked == ["a"] * 3
    assert clock.waits == pytest.approx([0.375, 0.75])
    assert isinstance(error, FallbackError)
    assert ids(error) == ["a"] * 3


def test_an_only_deployment_is_not_retried_after_a_lasting_failure(world: Worlds, clock: Clock) -> None:
    here = world(a=fails(401))
    assert type(here.error(here.router(entry("a")))) is AuthenticationError
    assert (here.asked, clock.waits) == (["a"], [])


@pytest.mark.parametrize("num_retries", [0, 1, 2, 3, 7])
def test_num_retries_is_the_number_of_attempts_after_the_first(world: Worlds, num_retries: int) -> None:
    here = world(a=fails(), b=fails())
    error = here.error(here.router(num_retries=num_retries, timeout=None))
    assert Counter(here.asked).total() == 1 + num_retries
    assert here.asked[:2] == ["a", "b"][: 1 + num_retries]
    assert isinstance(error, FallbackError) is (num_retries > 0)
    here.drop()
    here.error(here.router(), num_retries=num_retries, timeout=None)
    assert len(here.asked) == 1 + num_retries


def test_an_only_failure_is_raised_as_it_is(world: Worlds) -> None:
    here = world(a=fails(), b=fails())
    error = here.error(here.router(num_retries=0))
    assert (type(error), error.status_code, error.provider) == (InternalServerError, 500, "cohere")


def test_back_off_jitter_is_drawn_once_per_wait(world: Worlds, clock: Clock) -> None:
    here, numbers = world(a=fails(503)), iter([0.0, 0.0, 0.9, 0.9, 0.9, 0.9])
    router = here.router(entry("a"), num_retries=1)
    clock.rng = lambda: next(numbers)
    here.error(router)
    assert clock.waits == pytest.approx([0.25])


def test_retry_after_is_waited_before_a_retry(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    assert ids(here.ask(here.router(retry_after=0.7))) == ["a", "b"]
    assert clock.waits == [0.7]


def test_retry_after_beyond_the_deadline_gives_up(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    assert type(here.error(here.router(retry_after=7.0, timeout=5.0))) is InternalServerError
    assert (here.asked, clock.waits) == (["a"], [])


def test_a_call_of_several_requests_is_retried_request_by_request(world: Worlds, clock: Clock) -> None:
    here = world(a=in_turn(ok, fails(), ok, ok))
    response = here.ask(here.router(entry("a")), batch_size=1, max_concurrency=1)
    assert [attempt.status for attempt in response.attempts] == [200, 500, 200, 200]
    assert len(clock.waits) == 1
    here.answers["a"] = fails()
    here.drop()
    assert type(here.error(here.router(entry("a")), batch_size=1, max_concurrency=1)) is InternalServerError
    assert here.asked == ["a"] * 3


def test_a_call_of_several_requests_goes_to_another_deployment_after_its_retries(world: Worlds) -> None:
    here = world(a=fails())
    response = here.ask(here.router(), batch_size=1, max_concurrency=1)
    assert here.asked == ["a"] * 3 + ["b"] * 3
    assert response.results.indexes == (0, 1, 2)


def test_the_cost_is_that_of_every_attempt(world: Worlds) -> None:
    here = world(a=not_json)
    response = here.ask(here.router(entry("a", input_cost_per_query=1.0), entry("b", input_cost_per_query=0.25)))
    assert response.cost == 1.25


def test_failed_requests_of_one_call_count_as_that_many_failures(world: Worlds) -> None:
    def second_batch_fails(request: httpx.Request) -> httpx.Response:
        return fails()(request) if DOCUMENTS[1].encode() in request.content else ok(request)

    here = world(a=second_batch_fails)
    router = here.router(batch_size=1, max_concurrency=1, allowed_fails=2)
    here.ask(router)
    assert here.drop() == ["a"] * 4 + ["b"] * 3
    assert status(router).cooldown == 5.0
