"""Budgets with calls that run at once, are cancelled, or fail."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.support.frameworks import Wire, refusing, well
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode
from tests.support.processes import forked, needs_fork
from tests.unit.pricing.spending import EACH, served

from anyrerank import (
    APITimeoutError,
    BadRequestError,
    Budget,
    BudgetExceededError,
    InternalServerError,
    Reranker,
    Router,
)


async def test_concurrent_tasks_do_not_overspend_together() -> None:
    requests: list[httpx.Request] = []
    opened = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        await opened.wait()
        return well(request)

    budget = Budget(3 * EACH)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, budget=budget)
        calls = [asyncio.create_task(reranker.arerank(QUERY, [*DOCUMENTS, str(n)])) for n in range(8)]
        while sum(call.done() for call in calls) < 5:  # noqa: ASYNC110  five are refused before the gate opens
            await asyncio.sleep(0)
        opened.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(BudgetExceededError) == 5
    assert len(requests) == 3
    assert "reserved by calls in flight" in str(next(o for o in outcomes if isinstance(o, BudgetExceededError)))
    assert budget.spent() == pytest.approx(3 * EACH)


def test_concurrent_threads_do_not_overspend_together() -> None:
    budget, started = Budget(10.0), threading.Barrier(8)

    def spend(_: int) -> int:
        started.wait()
        done = 0
        for _ in range(100):
            try:
                budget.reserve(0.1).settle(0.1)
            except BudgetExceededError:
                continue
            done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(8))) == 100
    assert budget.spent() == pytest.approx(10.0)


async def test_a_cancelled_call_counts_its_estimate() -> None:
    """The provider may have finished it."""
    never = asyncio.Event()

    async def answer(_: httpx.Request) -> httpx.Response:
        await never.wait()
        raise AssertionError

    budget = Budget(EACH)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, budget=budget)
        call = asyncio.create_task(reranker.arerank(QUERY, DOCUMENTS))
        for _ in range(50):
            await asyncio.sleep(0)
        with pytest.raises(BudgetExceededError):
            await reranker.arerank(QUERY, DOCUMENTS)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert budget.spent() == EACH


def test_a_timeout_counts_the_estimate(mode: Mode) -> None:
    def late(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("made by the test", request=request)

    budget = Budget(1.0)
    with pytest.raises(APITimeoutError):
        mode.rerank(served(mode, Wire(late), budget=budget), QUERY, DOCUMENTS)
    assert budget.spent() == EACH


def test_every_request_of_a_call_is_reserved(mode: Mode) -> None:
    wire, budget = Wire(), Budget(10 * EACH)
    reranker = served(mode, wire, budget=budget, batch_size=1)
    with pytest.raises(BudgetExceededError, match=r"costs about \$0\.022,"):
        mode.rerank(reranker, QUERY, [f"passage {index}" for index in range(11)])
    assert (wire.requests, budget.spent()) == ([], 0.0)
    mode.rerank(reranker, QUERY, [f"passage {index}" for index in range(10)])
    assert budget.spent() == pytest.approx(10 * EACH)


def test_every_request_to_a_deployment_is_reserved(mode: Mode) -> None:
    wire = Wire()
    params = {"model": "cohere/rerank-v3.5", "api_key": KEY, "max_budget": 3 * EACH}
    client = mode.client(transport=httpx.MockTransport(wire))
    router = Router([{"model_name": "r", "litellm_params": params}], http_client=client, batch_size=1)
    documents = [f"passage {index}" for index in range(4)]
    with pytest.raises(BudgetExceededError):
        mode.rerank(router.as_reranker("r"), QUERY, documents)
    assert wire.requests == []


async def test_requests_that_a_concurrent_failure_cuts_off_count_their_estimate() -> None:
    async def first_fails(request: httpx.Request) -> httpx.Response:
        if b"passage 0" not in request.content:
            await asyncio.Event().wait()
        return refusing(400)(request)

    budget = Budget(1.0)
    async with httpx.AsyncClient(transport=httpx.MockTransport(first_fails)) as client:
        reranker = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, batch_size=1, budget=budget)
        with pytest.raises(BadRequestError):
            await reranker.arerank(QUERY, [f"passage {index}" for index in range(4)])
    assert budget.spent() == pytest.approx(3 * EACH)  # the one that was refused was not billed


def test_a_batched_call_that_fails_everywhere_costs_nothing(mode: Mode) -> None:
    wire, budget = Wire(refusing(503)), Budget(1.0)
    reranker = served(mode, wire, budget=budget, batch_size=1, max_concurrency=1)
    with pytest.raises(InternalServerError):
        mode.rerank(reranker, QUERY, [f"passage {index}" for index in range(4)])
    assert (len(wire.requests), budget.spent()) == (1, 0.0)


@needs_fork
def test_a_forked_child_keeps_what_was_spent_but_not_what_was_reserved() -> None:
    budget = Budget(1.0)
    budget.reserve(0.5).settle(0.5)
    in_flight = budget.reserve(0.5)
    assert forked(lambda: (budget.spent(), budget.reserve(0.5).dollars)) == "(0.5, 0.5)"
    in_flight.settle(0.25)
    assert budget.spent() == 0.75


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1), st.none() | st.floats(0, 1), st.integers(0, 3)), max_size=40))
def test_no_more_is_reserved_than_is_left(clock: Clock, calls: list[tuple[float, float | None, int]]) -> None:
    """What is allowed fits into what is left, in any windows; a free call is always allowed."""
    budget, clock.now = Budget(1.0, 60.0), 1_000_000.0
    spent, window = 0.0, clock.now // 60
    for dollars, cost, later in calls:
        clock.now += 20.0 * later
        if clock.now // 60 != window:
            spent, window = 0.0, clock.now // 60
        try:
            reservation = budget.reserve(dollars)
        except BudgetExceededError:
            assert spent + dollars > 1.0
            continue
        assert spent + dollars <= 1.0 + 1e-6 or dollars == 0.0
        reservation.settle(cost)
        spent += dollars if cost is None else cost
        assert budget.spent() == pytest.approx(spent)
