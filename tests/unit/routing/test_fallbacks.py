"""Other names of a router that are asked when a name fails."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.clock import Clock
from tests.support.frameworks import in_turn
from tests.support.harness import DOCUMENTS
from tests.support.routing import Worlds, entry, fails, ids, limited, ok, status, unreachable

from anyrerank import (
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    Budget,
    BudgetExceededError,
    FallbackError,
    GuardrailRaisedError,
    InternalServerError,
    UnknownPriceError,
)
from anyrerank.guardrails import DenyList


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


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
def test_max_fallbacks_limits_the_names_that_are_asked(world: Worlds, limit: int) -> None:
    here = world(**dict.fromkeys("axyz", fails(401)))
    entries = [entry("a"), *(entry(name, name) for name in "xyz")]
    here.error(here.router(*entries, fallbacks={"r": ["x"], "x": ["y", "z"]}, max_fallbacks=limit))
    assert here.asked == ["a", "x", "y", "z"][: 1 + limit]


def test_fallbacks_of_a_call_replace_those_of_the_router(world: Worlds) -> None:
    here = world(a=fails(401), x=fails(401))
    entries = [entry("a"), entry("x", "x"), entry("y", "y")]
    router = here.router(*entries, fallbacks={"r": ["x"]}, model_group_alias={"other": "y"})
    assert ids(here.ask(router, fallbacks=["other"])) == ["a", "y"]
    nothing: list[Any] = [[], None]
    for none in nothing:
        here.drop()
        assert type(here.error(router, fallbacks=none)) is AuthenticationError
        assert here.asked == ["a"]
    assert "no model 'z'" in str(here.error(router, fallbacks=["z"]))
    assert "fallbacks must be a list of names" in str(here.error(router, fallbacks="y"))


def test_a_fallback_is_asked_rather_than_waiting(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(3), b=limited(4))
    router = here.router(entry("a"), entry("b"), entry("c", "spare"), fallbacks={"r": ["spare"]})
    assert ids(here.ask(router)) == ["a", "b", "c"]
    assert ids(here.ask(router)) == ["c"]
    assert clock.waits == []


def test_a_fallback_is_asked_at_once_if_the_only_deployment_asks_to_wait(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(3))
    router = here.router(entry("a"), entry("c", "spare"), fallbacks={"r": ["spare"]})
    assert (ids(here.ask(router)), clock.waits) == (["a", "c"], [])


def test_an_only_deployment_is_retried_before_a_fallback(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    router = here.router(entry("a"), entry("c", "spare"), fallbacks={"r": ["spare"]}, timeout=None)
    assert ids(here.ask(router)) == ["a", "a", "a", "c"]
    assert len(clock.waits) == 2


REFUSALS = [400, 404, 405, 410, 412, 415, 422, 451]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_of_a_server_asks_the_fallback(world: Worlds, code: int) -> None:
    here = world(a=fails(code))
    router = here.router(entry("a"), entry("x", "x"), default_fallbacks=["x"])
    assert ids(here.ask(router)) == ["a", "x"]


def test_a_limit_of_one_provider_asks_the_fallback(world: Worlds) -> None:
    """A provider that cannot do what a call wants refuses it before anything is sent."""
    here = world()
    entries = [entry("a", model="cohere_compatible/unlisted"), entry("x", "x")]
    router = here.router(*entries, default_fallbacks=["x"], score_mode="unit")
    assert (ids(here.ask(router)), status(router).cooldown) == (["x"], 0.0)


def test_a_used_up_budget_asks_the_fallback(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", budget=Budget(0.001)), entry("x", "x"), default_fallbacks=["x"])
    assert (ids(here.ask(router)), status(router).cooldown) == (["x"], 0.0)


def test_a_budget_of_the_call_allows_a_cheaper_fallback(world: Worlds) -> None:
    here = world()
    entries = [entry("a", input_cost_per_query=1.0), entry("x", "x", input_cost_per_query=0.001)]
    router = here.router(*entries, default_fallbacks=["x"], budget=Budget(0.5))
    assert ids(here.ask(router)) == ["x"]


def test_a_guardrail_that_refuses_asks_no_fallback(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a"), entry("x", "x"), default_fallbacks=["x"], guardrails=[DenyList(terms=["capital"])])
    assert type(here.error(router)) is GuardrailRaisedError
    assert here.asked == []


def test_a_fallback_that_answered_is_logged_once_a_minute(
    world: Worlds, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    here = world(a=fails(400))
    router = here.router(entry("a"), entry("x", "x"), default_fallbacks=["x"])
    for _ in range(6):
        here.ask(router)
        clock.now += 15.0
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 2
    for message in messages:
        assert message.startswith("x (cohere/rerank-v3.5) answered as a fallback for r")
        assert "a (cohere/rerank-v3.5): BadRequestError 400" in message


def test_a_fallback_for_a_name_that_cools_down_is_logged(
    world: Worlds, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    here = world(a=limited(90))
    router = here.router(entry("a"), entry("x", "x"), default_fallbacks=["x"])
    here.ask(router)
    caplog.clear()
    clock.now += 61.0
    assert ids(here.ask(router)) == ["x"]
    (record,) = caplog.records
    assert "cooling down" in record.getMessage()


def test_another_deployment_of_the_same_name_is_no_fallback(world: Worlds, caplog: pytest.LogCaptureFixture) -> None:
    here = world(a=fails())
    assert ids(here.ask(here.router())) == ["a", "b"]
    assert caplog.records == []


def test_failures_of_all_names_are_raised_as_one_error(world: Worlds) -> None:
    here = world(a=fails(503), b=fails(401), c=unreachable)
    error = here.error(here.router(entry("a"), entry("b"), entry("c", "spare"), fallbacks=[{"r": ["spare"]}]))
    assert isinstance(error, FallbackError)
    assert [type(each) for each in error.errors][:2] == [InternalServerError, AuthenticationError]
    assert {type(each) for each in error.errors[2:]} == {APIConnectionError}
    assert [(each.model_id, each.status) for each in error.attempts][:3] == [("a", 503), ("b", 401), ("c", None)]


def test_a_fallback_error_shows_repeated_failures_with_their_count(world: Worlds) -> None:
    here = world(a=fails(), x=fails(401))
    error = here.error(here.router(entry("a"), entry("x", "x"), default_fallbacks=["x"]))
    assert isinstance(error, FallbackError)
    assert error.message.startswith("all 2 deployments failed: ")
    assert "a (cohere/rerank-v3.5): InternalServerError 500, 3 times: " in error.message
    assert "x (cohere/rerank-v3.5): AuthenticationError 401: " in error.message


def test_a_fallback_error_shows_different_failures_of_one_deployment(world: Worlds) -> None:
    here = world(a=in_turn(fails(), fails(503), fails(401)))
    error = here.error(here.router(entry("a")))
    assert isinstance(error, FallbackError)
    for part in ("InternalServerError 500: ", "InternalServerError 503: ", "AuthenticationError 401: "):
        assert f"a (cohere/rerank-v3.5): {part}" in error.message


def test_passthrough_comes_after_every_fallback(world: Worlds, caplog: pytest.LogCaptureFixture) -> None:
    here = world(**dict.fromkeys("abx", fails(401)))
    router = here.router(
        entry("a"), entry("b"), entry("x", "x"), default_fallbacks=["x"], on_error="passthrough", max_retries=2
    )
    response = here.ask(router)
    assert (ids(response), response.degraded, response.model_group) == (["a", "b", "x"], True, "r")
    assert response.results.indexes == (0, 1, 2)
    messages = [record.getMessage() for record in caplog.records]
    starts = [f"{name} (cohere/rerank-v3.5) starts to cool down: AuthenticationError" for name in "abx"]
    assert [message.partition(": Cohere")[0] for message in messages[:-1]] == starts
    assert "FallbackError" in messages[-1]


# Budgets.


def test_a_deployment_whose_budget_is_used_up_is_passed_over(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", max_budget=0.005, budget_duration="1d"), entry("b"), num_retries=0)
    assert [ids(here.ask(router)) for _ in range(4)] == [["a"], ["a"], ["b"], ["b"]]
    assert (status(router).in_flight, status(router).requests) == (0, 2)


def test_budgets_that_are_all_used_up_raise_a_budget_error(world: Worlds) -> None:
    here = world()
    router = here.router(*(entry(name, max_budget=0.001) for name in "ab"), on_error="passthrough")
    for _ in range(3):
        assert type(here.error(router)) is BudgetExceededError
    assert (here.asked, [each.in_flight for each in router.deployment_status()]) == ([], [0, 0])


def test_a_failed_attempt_gives_its_budget_back(world: Worlds) -> None:
    budget = Budget(0.004)
    here = world(a=fails())
    router = here.router(entry("a", budget=budget), entry("b"))
    for _ in range(3):
        here.ask(router)
    assert budget.spent() == 0.0


def test_a_budget_of_the_call_holds_for_every_deployment(world: Worlds) -> None:
    here = world()
    budgets: list[dict[str, Any]] = [{"budget": Budget(0.001)}, {"user_budget": Budget(0.001), "user": "ann"}]
    for each in budgets:
        assert type(here.error(here.router(), **each)) is BudgetExceededError
        assert type(here.error(here.router(**each))) is BudgetExceededError
    assert here.asked == []


def test_a_bad_request_of_one_name_and_a_budget_of_another_are_both_raised(world: Worlds) -> None:
    here = world(a=fails(400))
    router = here.router(entry("a"), entry("x", "x", budget=Budget(0.001)), default_fallbacks=["x"])
    error = here.error(router, documents=DOCUMENTS[:1])
    assert isinstance(error, FallbackError)
    assert [type(each) for each in error.errors] == [BadRequestError, BudgetExceededError]
    here.answers["a"] = ok
    assert ids(here.ask(router)) == ["a"]


UNPRICED = {"model": "cohere/unlisted"}


def test_an_unknown_price_under_a_budget_is_an_error_and_no_fallback_answers(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", **UNPRICED), entry("x", "x"), default_fallbacks=["x"])
    for _ in range(2):
        assert type(here.error(router, budget=Budget(1))) is UnknownPriceError
    assert status(router).cooldown == 0
    assert here.drop() == []
    here.ask(router)
    assert here.drop() == ["a"]


def test_an_unknown_price_is_passed_over_where_the_name_has_a_known_one(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", **UNPRICED), entry("b"), num_retries=0)
    here.ask(router, budget=Budget(1))
    assert here.drop() == ["b"]


def test_a_fallback_without_a_price_is_passed_over(world: Worlds) -> None:
    here = world(a=fails())
    entries = [entry("a"), entry("x", "x", **UNPRICED), entry("y", "y")]
    router = here.router(*entries, fallbacks=[{"r": ["x", "y"]}], num_retries=0)
    here.ask(router, budget=Budget(1))
    assert here.drop() == ["a", "y"]
