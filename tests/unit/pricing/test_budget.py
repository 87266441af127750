"""A budget is enforced before money is spent, for calls one after another and for concurrent ones."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.frameworks import FACES, Face, Wire, in_turn, refusing, well
from tests.support.harness import DOCUMENTS, QUERY, Mode
from tests.unit.pricing.spending import EACH, served

from anyrerank import (
    BadRequestError,
    Budget,
    BudgetExceededError,
    ConfigurationError,
    FallbackError,
    MemoryCache,
)
from anyrerank._core.pricing.budget import seconds_of


def test_a_call_that_would_exceed_the_budget_is_not_sent(mode: Mode) -> None:
    wire, budget = Wire(), Budget(2 * EACH)
    reranker = served(mode, wire, budget=budget, on_error="passthrough")
    for _ in range(2):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    with pytest.raises(BudgetExceededError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert len(wire.requests) == 2
    assert budget.spent() == pytest.approx(2 * EACH)
    for part in ("the budget of $0.004 would", "$0.004 spent", "costs about $0.002"):
        assert part in caught.value.message
    assert caught.value.retry_after is None


def test_a_new_window_starts_with_nothing_spent(mode: Mode, clock: Clock) -> None:
    clock.now = 86400.0 * 20 + 3600
    budget = Budget(EACH, "1d")
    reranker = served(mode, Wire(), budget=budget)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    with pytest.raises(
        BudgetExceededError, match=r"for 1d .*; the next window starts on 1970-01-22 00:00 UTC"
    ) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.retry_after == 82800
    clock.now += 82800
    assert budget.spent() == 0.0
    mode.rerank(reranker, QUERY, DOCUMENTS)


def test_each_end_user_has_a_separate_budget(mode: Mode) -> None:
    wire, budget = Wire(), Budget(EACH)
    reranker = served(mode, wire, user_budget=budget)
    mode.rerank(reranker, QUERY, DOCUMENTS, user="ann")
    mode.rerank(reranker, QUERY, DOCUMENTS, user="bob")
    with pytest.raises(BudgetExceededError, match="the end user's budget") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS, user="ann")
    assert "ann" not in str(caught.value)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert (budget.spent("ann"), budget.spent("bob"), budget.spent("cid")) == (EACH, EACH, 0.0)
    assert len(wire.requests) == 3


def test_the_reported_cost_replaces_the_estimate(mode: Mode) -> None:
    def expensive(request: httpx.Request) -> httpx.Response:
        body = well(request).json()
        return httpx.Response(200, json={**body, "meta": {"billed_units": {"search_units": 5}}})

    budget = Budget(1.0)
    mode.rerank(served(mode, Wire(expensive), budget=budget), QUERY, DOCUMENTS)
    assert budget.spent() == pytest.approx(5 * EACH)


def test_a_refused_call_is_not_counted(mode: Mode) -> None:
    budget = Budget(EACH)
    reranker = served(mode, Wire(in_turn(refusing(400), well)), budget=budget)
    with pytest.raises(BadRequestError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert budget.spent() == 0.0
    mode.rerank(reranker, QUERY, DOCUMENTS)


def test_a_billed_failure_is_counted(mode: Mode) -> None:
    budget = Budget(1.0)
    wire = Wire(in_turn(lambda _: httpx.Response(200, text="<html>"), well))
    mode.rerank(served(mode, wire, budget=budget, fallbacks=["cohere/rerank-v4.0-fast"]), QUERY, DOCUMENTS)
    assert len(wire.requests) == 2
    assert budget.spent() == pytest.approx(2 * EACH)


def test_tokens_are_reserved_by_estimate_and_counted_as_reported(mode: Mode) -> None:
    def counted(request: httpx.Request) -> httpx.Response:
        rows = [{"index": index, "relevance_score": 0.5} for index in range(3)]
        return httpx.Response(200, json={"data": rows, "usage": {"total_tokens": 40}})

    budget = Budget(1e-5)
    reranker = served(mode, Wire(counted), "voyage/rerank-2.5", budget=budget)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert budget.spent() == pytest.approx(40 * 5e-8)
    with pytest.raises(BudgetExceededError):
        mode.rerank(reranker, QUERY, [text * 50 for text in DOCUMENTS])


def test_an_instruction_is_read_with_each_document_and_reserved(mode: Mode) -> None:
    wire = Wire()
    reranker = served(mode, wire, "deepinfra/m", budget=Budget(1e-3), input_cost_per_token=1e-6)
    with pytest.raises(BudgetExceededError):
        mode.rerank(reranker, QUERY, DOCUMENTS, instruction="word " * 1_000)
    assert wire.requests == []


def test_a_cached_answer_is_free(mode: Mode) -> None:
    budget = Budget(EACH)
    reranker = served(mode, Wire(), budget=budget, cache=MemoryCache())
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert mode.rerank(reranker, QUERY, DOCUMENTS).cost == 0.0
    with pytest.raises(BudgetExceededError):
        mode.rerank(reranker, QUERY, ["something new"])


def test_an_unknown_price_is_refused(mode: Mode) -> None:
    wire = Wire()
    with pytest.raises(ConfigurationError, match=r"a budget needs a price.*cohere/new"):
        mode.rerank(served(mode, wire, "cohere/new", budget=Budget(1.0)), QUERY, DOCUMENTS)
    assert wire.requests == []
    priced = served(mode, wire, "cohere/new", budget=Budget(1.0), input_cost_per_query=0.5)
    assert mode.rerank(priced, QUERY, DOCUMENTS).cost == 0.5


def test_a_free_model_fits_any_budget(mode: Mode) -> None:
    reranker = mode.reranker("local/lexical", api_key=None, budget=Budget(1e-9))
    assert mode.rerank(reranker, QUERY, DOCUMENTS).cost == 0.0


def test_a_fallback_stays_within_its_own_budgets(mode: Mode) -> None:
    wire, own, of_user = Wire(), Budget(EACH), Budget(1.0)
    spare = served(mode, wire, budget=own, user_budget=of_user)
    reranker = served(mode, Wire(refusing(401)), fallbacks=[spare])
    mode.rerank(reranker, QUERY, DOCUMENTS, user="ann")
    with pytest.raises(FallbackError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS, user="ann")
    assert isinstance(caught.value.errors[-1], BudgetExceededError)
    assert (own.spent(), of_user.spent("ann"), len(wire.requests)) == (EACH, EACH, 1)


def test_a_free_call_is_allowed_by_an_overspent_budget(mode: Mode) -> None:
    budget = Budget(1e-9)
    budget.reserve(1e-9).settle(5.0)
    assert mode.rerank(mode.reranker("local/lexical", api_key=None, budget=budget), QUERY, DOCUMENTS).cost == 0.0


def test_a_budget_of_nothing_allows_only_free_calls(mode: Mode) -> None:
    wire = Wire()
    with pytest.raises(BudgetExceededError):
        mode.rerank(served(mode, wire, budget=Budget(0)), QUERY, DOCUMENTS)
    assert wire.requests == []
    assert mode.rerank(mode.reranker("local/lexical", api_key=None, budget=Budget(0)), QUERY, DOCUMENTS).cost == 0.0


@pytest.mark.parametrize("least", [0, 1])
def test_each_of_several_budgets_must_have_room(mode: Mode, least: int) -> None:
    wire = Wire()
    budgets = [Budget(1.0), Budget(1.0)]
    budgets[least] = Budget(EACH)
    reranker = served(mode, wire, budget=budgets)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    with pytest.raises(BudgetExceededError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert len(wire.requests) == 1
    assert [each.spent() for each in budgets] == [EACH, EACH]
    assert [each.left() for each in budgets] == [each.dollars - EACH for each in budgets]


def test_what_was_spent_elsewhere_counts_in_the_current_window(clock: Clock) -> None:
    clock.now = 86400.0 * 20 + 3600
    budget = Budget(1.0, "1d")
    budget.add(0.75, "ann")
    assert (budget.started, budget.left("ann"), budget.left("bob")) == (86400.0 * 20, 0.25, 1.0)
    with pytest.raises(BudgetExceededError):
        budget.reserve(0.5, "ann")
    clock.now += 86400.0
    assert (budget.left("ann"), Budget(1.0).started) == (1.0, 0.0)


def test_a_user_that_is_no_string_is_refused(mode: Mode) -> None:
    budget = Budget(1.0)
    with pytest.raises(BadRequestError, match="user must be a string, or None"):
        mode.rerank(served(mode, Wire(), budget=budget, user_budget=Budget(1.0)), QUERY, DOCUMENTS, user=["ann"])
    assert budget.spent() == 0.0


@pytest.mark.parametrize("face", FACES, ids=str)
def test_an_adapter_enforces_its_budgets(face: Face) -> None:
    adapter = face.make(Wire(), budget=Budget(EACH), user_budget=Budget(1.0), user="ann")
    assert face.ranked(adapter, ["a 0.1", "b 0.9"]) == [("b 0.9", 0.9), ("a 0.1", 0.1)]
    with pytest.raises(BudgetExceededError):
        face.rerank(adapter, ["a 0.1", "b 0.9"])
    assert adapter.user_budget.spent("ann") == EACH


@pytest.mark.parametrize("dollars", [-1, True, "5", None, float("nan"), float("inf"), 10**400])
def test_dollars_that_are_no_amount_are_refused(dollars: Any) -> None:
    with pytest.raises(ConfigurationError, match="a budget must be a number of US dollars of at least 0"):
        Budget(dollars)


@pytest.mark.parametrize(
    "window", ["", "1", "d", "1y", "-1d", "0s", 0, -5, True, float("inf"), float("nan"), 10**400, "9" * 400 + "d"]
)
def test_a_window_that_is_no_length_of_time_is_refused(window: Any) -> None:
    with pytest.raises(ConfigurationError, match="window must be a positive number of seconds, or a string"):
        Budget(1.0, window)


@pytest.mark.parametrize(
    ("window", "seconds"), [("30s", 30), ("5m", 300), ("12h", 43200), ("1d", 86400), ("2 w", 1209600), (1.5, 1.5)]
)
def test_a_window_is_a_number_of_seconds_or_a_string(window: Any, seconds: float) -> None:
    assert seconds_of(window) == seconds


@pytest.mark.parametrize(("name", "value"), [("budget", 5.0), ("user_budget", 5.0), ("budget", [Budget(1), 5.0])])
def test_a_budget_option_that_is_no_budget_is_refused(mode: Mode, name: str, value: Any) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(BadRequestError, match=f"{name} must be a Budget such as "):
        served(mode, Wire(), **given)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])  # noqa: S301
def test_a_copy_starts_with_nothing_spent(again: Any) -> None:
    budget = Budget(2.0, "1d")
    budget.reserve(1.0).settle(1.5)
    with pytest.warns(RuntimeWarning, match=r"a copy of Budget\(2, '1d'\) counts on its own, .* pass state= and name="):
        copied = again(budget)
    assert (repr(copied), copied.spent(), budget.spent()) == ("Budget(2, '1d')", 0.0, 1.5)


def test_users_of_earlier_windows_are_forgotten(clock: Clock) -> None:
    budget = Budget(1.0, 60.0)
    for number in range(200):
        clock.now += 1.0
        budget.reserve(0.1, f"user {number}").settle(0.1)
    assert len(budget._book.accounts) <= 60


def test_successor_goes_on_with_what_was_spent_and_reserved() -> None:
    before, after = Budget(1.0, "1d"), Budget(3.0, "1d")
    reservation = before.reserve(1.0)
    assert after.succeed(before)
    assert after.left() == 2.0
    reservation.settle(0.5)
    assert (after.spent(), after.left()) == (0.5, 2.5)


def test_budget_does_not_succeed_one_with_another_window() -> None:
    before, after = Budget(1.0, "1d"), Budget(1.0)
    before.add(1.0)
    assert not after.succeed(before)
    assert after.left() == 1.0
