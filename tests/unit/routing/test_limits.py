"""Requests and tokens per minute are enforced, for calls one after another and for concurrent ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.support.frameworks import Answer
from tests.support.harness import DOCUMENTS, QUERY
from tests.support.routing import ALMOST_1, Worlds, entry, fails, ids, limited, ok, status

from anyrerank import MemoryCache, RateLimitError, RerankError, RerankResponse, Router


def minutes(times: Sequence[float]) -> list[int]:
    """How many of `times` are in the minute that starts with each of them."""
    return [sum(first <= other < first + 60.0 for other in times) for first in times]


def test_rpm_is_never_exceeded_in_any_minute(world: Worlds, clock: Clock) -> None:
    here = world()
    router = here.router(entry("a", rpm=2), timeout=None)
    for _ in range(7):
        here.ask(router)
        clock.now += 7.0
    assert len(here.asked) == 7
    assert max(minutes(here.times)) == 2
    assert clock.waits


def test_retries_count_as_requests(world: Worlds) -> None:
    here = world(a=fails())
    router = here.router(entry("a", rpm=2), timeout=None, num_retries=5)
    here.error(router)
    assert len(here.asked) == 6
    assert max(minutes(here.times)) == 2


def test_requests_above_a_limit_go_to_another_deployment(world: Worlds, clock: Clock) -> None:
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
    assert status(router).requests == len(here.asked) == [3, 2, 1][size - 1]


def test_tpm_counts_the_tokens_that_the_server_reports(world: Worlds, clock: Clock) -> None:
    def used(request: httpx.Request) -> httpx.Response:
        rows = [{"index": 0, "relevance_score": 0.5}]
        return httpx.Response(200, json={"results": rows, "meta": {"billed_units": {"total_tokens": 60}}})

    here = world(a=used, b=used)
    router = here.router(entry("a", tpm=100), entry("b", tpm=1000))
    for _ in range(4):
        here.ask(router, query="q", documents=["d"])
    assert here.asked == ["a", "a", "b", "b"]
    assert [each.tokens for each in router.deployment_status()] == [120, 120]
    clock.now += 60.0
    here.ask(router, query="q", documents=["d"])
    assert here.asked[-1] == "a"


def test_a_call_above_a_limit_by_itself_waits_for_an_empty_minute(world: Worlds, clock: Clock) -> None:
    here = world()
    router = here.router(entry("a", rpm=1, tpm=1), timeout=None)
    for _ in range(2):
        here.ask(router, batch_size=1)
    assert len(here.asked) == 6
    assert clock.waits == [pytest.approx(60.0)]


def test_a_call_that_accepts_a_cooldown_still_respects_a_limit(world: Worlds) -> None:
    here = world(a=fails(401))
    router = here.router(entry("a", rpm=4), timeout=30.0)
    here.error(router)
    here.answers.clear()
    error = here.error(router, batch_size=1, documents=[*DOCUMENTS, "Paris"])
    assert type(error) is RateLimitError
    assert error.retry_after == pytest.approx(60.0)


def test_a_cached_answer_uses_nothing_of_a_limit(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", rpm=3), cache=MemoryCache(), timeout=5.0)
    first = here.ask(router)
    for _ in range(5):
        again = here.ask(router)
        assert (again.cached, again.results, again.cost) == (3, first.results, 0.0)
    assert (len(here.asked), status(router).requests) == (1, 1)


async def test_concurrent_tasks_do_not_exceed_a_limit_together(clock: Clock) -> None:
    asked: list[float] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(clock.now)
        await asyncio.sleep(0)
        return ok(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        router = Router([entry("a", rpm=10)], http_client=client, timeout=5.0)
        found = await asyncio.gather(
            *(router.arerank("r", QUERY, DOCUMENTS) for _ in range(64)), return_exceptions=True
        )
    assert len(asked) == 10
    assert Counter(type(each) for each in found) == {RerankResponse: 10, RateLimitError: 54}
    assert all(each.retry_after == pytest.approx(60.0) for each in found if isinstance(each, RateLimitError))


def test_concurrent_threads_do_not_exceed_a_limit_together(clock: Clock) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return ok(request)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client, ThreadPoolExecutor(16) as pool:
        entries = [entry("a", rpm=10, order=1), entry("b", rpm=15, order=2), entry("c", order=3)]
        router = Router(entries, http_client=client)
        list(pool.map(lambda _: router.rerank("r", QUERY, DOCUMENTS), range(64)))
    assert Counter(asked) == {"a.test": 10, "b.test": 15, "c.test": 39}
    assert [each.in_flight for each in router.deployment_status()] == [0, 0, 0]


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
def test_random_outcomes_never_break_a_rule(
    sync_world: Worlds, clock: Clock, calls: list[tuple[Any, ...]], rpm: int | None, number: float
) -> None:
    """No server is asked before the time it named or above its limit; one that can answer does; nothing is left."""
    here = sync_world()
    named = dict.fromkeys("abc", 0.0)
    terms: dict[str, Any] = {} if rpm is None else {"rpm": rpm}
    router = here.router(entry("a", **terms), entry("b"), entry("c"), timeout=None)
    clock.rng = lambda: number

    def of(name: str, outcome: str) -> Answer:
        def answer(request: httpx.Request) -> httpx.Response:
            assert clock.now >= named[name]
            named[name] = clock.now + {"429": 20.0, "503 in 9 s": 9.0}.get(outcome, 0.0)
            return (limited(20) if outcome == "429" else OUTCOMES[outcome])(request)

        return answer

    for pause, *outcomes in calls:
        clock.now += pause
        here.answers = {name: of(name, outcome) for name, outcome in zip("abc", outcomes, strict=True)}
        can = [name for name, outcome in zip("bc", outcomes[1:], strict=True) if outcome == "ok"]
        able = [name for name in can if clock.now >= named[name]]
        try:
            assert here.ask(router).results
        except RerankError:
            assert not able
        assert {each.in_flight for each in router.deployment_status()} == {0}
    of_a = [when for name, when in zip(here.asked, here.times, strict=True) if name == "a"]
    assert rpm is None or max(minutes(of_a), default=0) <= rpm


def test_passthrough_covers_a_rate_limit(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", rpm=1), on_error="passthrough", timeout=5.0)
    assert not here.ask(router).degraded
    response = here.ask(router)
    assert (ids(response), response.degraded) == ([], True)
