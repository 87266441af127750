"""When a deployment cools down, who is asked meanwhile, and how it comes back."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.harness import DOCUMENTS, QUERY
from tests.support.routing import Worlds, entry, fails, ids, limited, ok, status

from anyrerank import FallbackError, MemoryCache, RateLimitError, Router


def test_a_deployment_that_fails_too_often_cools_down(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    router = here.router(allowed_fails=2, cooldown_time=30)
    for _ in range(5):
        here.ask(router)
    assert here.drop() == ["a", "b", "a", "b", "a", "b", "b", "b"]
    assert status(router).cooldown == pytest.approx(30)
    clock.now += 29
    assert ids(here.ask(router)) == ["b"]
    clock.now += 1.1
    assert ids(here.ask(router)) == ["a", "b"]
    assert ids(here.ask(router)) == ["b"]
    here.answers["a"] = ok
    clock.now += 31
    assert [ids(here.ask(router)) for _ in range(2)] == [["a"], ["a"]]


def test_failures_more_than_a_minute_apart_are_tolerated(sync_world: Worlds, clock: Clock) -> None:
    here = sync_world(a=fails())
    router = here.router()
    for _ in range(12):
        assert ids(here.ask(router)) == ["a", "b"]
        clock.now += 20.0


@pytest.mark.parametrize("code", [401, 403, 404, 410, 418, 429, 451])
def test_a_lasting_failure_cools_down_at_once(world: Worlds, code: int) -> None:
    here = world(a=fails(code))
    router = here.router()
    assert [ids(here.ask(router)) for _ in range(3)] == [["a", "b"], ["b"], ["b"]]
    assert status(router).cooldown == 5.0


def test_a_server_that_asks_to_wait_is_not_asked_before(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(40))
    router = here.router()
    here.ask(router)
    here.answers["a"] = ok
    clock.now += 39.5
    assert ids(here.ask(router)) == ["b"]
    clock.now += 0.6
    assert ids(here.ask(router)) == ["a"]


def test_a_rate_limit_of_an_only_deployment_is_known_to_other_calls_at_once(
    sync_world: Worlds, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = sync_world(a=limited(10))
    router = here.router(entry("a"), num_retries=1)
    cooldowns: list[float] = []

    def wait(seconds: float) -> None:
        cooldowns.append(status(router).cooldown)
        here.answers["a"] = ok
        clock.now += seconds

    monkeypatch.setattr(time, "sleep", wait)
    assert ids(here.ask(router)) == ["a", "a"]
    assert cooldowns == [pytest.approx(10.0)]


def test_a_deployment_is_asked_although_all_cool_down(world: Worlds, clock: Clock) -> None:
    here = world(a=fails(401), b=fails(403))
    router = here.router()
    here.error(router)
    here.answers.clear()
    assert (ids(here.ask(router)), clock.waits) == (["a"], [])


def test_an_only_deployment_is_retried_although_it_cools_down(world: Worlds, clock: Clock) -> None:
    here = world(a=fails())
    router = here.router(entry("a"), allowed_fails=0, cooldown_time=50)
    for _ in range(3):
        here.error(router)
    assert len(here.asked) == 9
    assert max(clock.waits) <= 1.0


def test_servers_that_all_ask_to_wait_are_waited_for(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(20), b=limited(12))
    router = here.router(num_retries=1)
    here.error(router)
    here.answers.clear()
    here.drop()
    assert ids(here.ask(router)) == ["b"]
    assert clock.waits == pytest.approx([12.0])


@pytest.mark.parametrize("timeout", [0.05, 5.0, 12.0])
def test_a_wait_beyond_the_deadline_raises_one_error_with_the_time(world: Worlds, clock: Clock, timeout: float) -> None:
    here = world(a=limited(20), b=limited(12.5))
    router = here.router(num_retries=1)
    here.error(router)
    here.drop()
    error = here.error(router, timeout=timeout)
    assert type(error) is RateLimitError
    assert error.retry_after == pytest.approx(12.5)
    assert "all deployments of r" in str(error)
    assert "available in 12.5 s" in str(error)
    assert (here.asked, clock.waits) == ([], [])


def test_a_failure_next_to_a_rate_limit_is_raised_with_it(world: Worlds) -> None:
    here = world()
    router = here.router(entry("a", rpm=1), entry("b"), timeout=5.0)
    here.ask(router)
    here.answers["b"] = fails(401)
    error = here.error(router)
    assert isinstance(error, FallbackError)
    assert [type(each).__name__ for each in error.errors] == ["AuthenticationError", "RateLimitError"]
    assert error.errors[1].retry_after == pytest.approx(60.0)


def test_a_wait_of_more_than_a_minute_is_not_waited(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(61))
    router = here.router(entry("a"), timeout=None)
    assert type(here.error(router)) is RateLimitError
    error = here.error(router)
    assert (type(error), clock.waits) == (RateLimitError, [])
    assert error.retry_after == pytest.approx(61)


def test_a_wait_of_more_than_max_wait_is_not_waited(world: Worlds, clock: Clock) -> None:
    here = world(a=limited(3))
    router = here.router(entry("a"), max_wait=2)
    assert type(here.error(router)) is RateLimitError
    error = here.error(router)
    assert (type(error), clock.waits) == (RateLimitError, [])
    assert error.retry_after == pytest.approx(3)


async def test_a_cooled_down_deployment_gets_one_trial_call_at_a_time(clock: Clock) -> None:
    gate, asked = asyncio.Event(), list[str]()
    code = 500

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host[0])
        if request.url.host != "a.test":
            return ok(request)
        await gate.wait()
        return ok(request) if code == 200 else httpx.Response(code, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        router = Router([entry("a"), entry("b", order=2)], http_client=client, allowed_fails=0)

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
        code = 200
        assert await five() == ["a"] + ["b"] * 4
        assert await five() == ["a"] * 5


async def test_a_trial_call_of_a_name_sends_the_others_to_its_fallback_and_says_so(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    gate, asked = asyncio.Event(), list[str]()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host[0])
        if request.url.host == "a.test":
            await gate.wait()
            return httpx.Response(500, json={})
        return ok(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        entries = [entry("a"), entry("x", "spare")]
        router = Router(entries, http_client=client, allowed_fails=0, num_retries=0, default_fallbacks=["spare"])
        gate.set()
        await router.arerank("r", QUERY, DOCUMENTS)
        clock.now += 5.1
        asked.clear()
        gate.clear()
        trial = asyncio.create_task(router.arerank("r", QUERY, DOCUMENTS))
        while not asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert ids(await router.arerank("r", QUERY, DOCUMENTS)) == ["x"]
        assert "after a cooldown one call at a time tries a deployment" in caplog.messages[-1]
        gate.set()
        assert ids(await trial) == ["a", "x"]
    assert asked == ["a", "x", "x"]


async def test_a_rate_limit_is_known_while_another_call_is_in_flight(clock: Clock) -> None:
    gate, asked = asyncio.Event(), list[str]()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["query"])
        if asked[-1] == "slow":
            await gate.wait()
            return ok(request)
        return httpx.Response(429, headers={"retry-after": "30"}, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        router = Router([entry("a")], http_client=client, timeout=10.0)
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


def test_a_cached_answer_says_nothing_about_a_deployment(world: Worlds, clock: Clock) -> None:
    here = world()
    router = here.router(entry("a"), entry("b", order=2), cache=MemoryCache(), allowed_fails=1)
    here.ask(router)
    here.answers["a"] = fails()
    for query in ("second", "third"):
        assert ids(here.ask(router, query=query)) == ["a", "b"]
    clock.now += 61.0
    assert here.ask(router).cached == 3
    assert ids(here.ask(router, query="fourth")) == ["a", "b"]
    assert status(router).cooldown == 5.0  # one failure was enough: it had not answered since its last cooldown


def test_a_cooldown_is_logged_once(world: Worlds, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    here = world(a=fails(401))
    router = here.router()
    for _ in range(4):
        here.ask(router)
        clock.now += 10
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("a (cohere/rerank-v3.5) starts to cool down: AuthenticationError")
