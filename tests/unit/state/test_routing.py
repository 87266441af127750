"""Rate limits, cooldowns and trials of routers that share a state."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from redis import Redis
from tests.support.harness import DOCUMENTS, QUERY
from tests.support.loopback import MAX_WAIT
from tests.support.replicas import Vendors, replicas
from tests.support.routing import entry, fails, limited, not_json, ok, status
from tests.support.waiting import eventually, took

from anyrerank import Budget, RateLimitError, Router
from anyrerank._core.routing import Claim, Cooldowns, Need, Outcome, Risk, Terms
from anyrerank.state import RedisState
from anyrerank.state.routing import RedisRouting


def commands(client: Any, name: str) -> int:
    """How often a command ran since the server started."""
    return int(client.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0))


def test_cooldown_is_known_to_others_at_once(redis_url: str) -> None:
    vendors = Vendors(a=fails(401))
    with replicas(2, redis_url, vendors, [entry("a"), entry("b", order=2)], cooldown_time=60, num_retries=1) as (
        one,
        two,
    ):
        assert one.ask() == "b"
        assert took(lambda: eventually(lambda: two.cooldown() > 50)) < 1
        assert {two.ask() for _ in range(4)} == {"b"}
        assert Counter(vendors.asked) == {"a": 1, "b": 5}


def test_time_that_a_server_asks_for_is_known_to_others(redis_url: str) -> None:
    with replicas(2, redis_url, Vendors(a=limited(30)), cooldown_time=60) as (one, two):
        one.ask()
        assert eventually(lambda: 25 < two.cooldown() <= 30)
        with pytest.raises(RateLimitError) as caught:
            two.router.rerank("r", QUERY, DOCUMENTS, timeout=1)
        assert caught.value.retry_after == pytest.approx(30, abs=2)


def test_failures_of_all_replicas_count_together(redis_url: str) -> None:
    vendors = Vendors(a=fails())
    with replicas(3, redis_url, vendors, allowed_fails=3, cooldown_time=60) as made:
        for each in made:
            each.ask()
        assert [each.cooldown() for each in made] == [0, 0, 0]
        made[0].ask()
        assert eventually(lambda: all(each.cooldown() > 50 for each in made))


def test_new_replica_learns_of_cooldowns(redis_url: str) -> None:
    vendors = Vendors(a=fails(401))
    with replicas(1, redis_url, vendors, cooldown_time=60) as (one,):
        one.ask()
        with replicas(1, redis_url, vendors, cooldown_time=60) as (two,):
            assert eventually(lambda: 50 < two.cooldown() <= 60)


def test_second_router_of_a_state_learns_of_cooldowns(redis_url: str) -> None:
    vendors = Vendors(a=fails(401))
    with replicas(1, redis_url, vendors, cooldown_time=60) as (one,):
        one.ask()
        with Router([entry("a")], state=one.state) as other:
            assert took(lambda: eventually(lambda: status(other).cooldown > 50)) < 0.5


def test_answer_ends_a_cooldown_for_all(redis_url: str) -> None:
    vendors = Vendors(a=fails())
    with replicas(3, redis_url, vendors, allowed_fails=0, cooldown_time=0.3) as made:
        made[0].ask()
        assert eventually(lambda: all(each.cooldown() > 0 for each in made))
        vendors.answers["a"] = ok
        assert eventually(lambda: made[1].ask(timeout=5) == "a")
        vendors.answers["a"] = fails()
        with Redis.from_url(redis_url) as client:
            assert eventually(lambda: client.hlen("anyrerank:cooldowns") == 0)


def test_only_one_replica_tries_a_deployment_again(redis_url: str) -> None:
    tried, go_on = threading.Event(), threading.Event()

    def hangs(request: httpx.Request) -> httpx.Response:
        tried.set()
        assert go_on.wait(MAX_WAIT)
        return ok(request)

    vendors = Vendors(a=fails())
    with replicas(3, redis_url, vendors, [entry("a"), entry("b", order=2)], allowed_fails=0, cooldown_time=0.2) as made:
        made[0].ask()
        assert eventually(lambda: all(each.cooldown() > 0 for each in made))
        assert eventually(lambda: not any(each.cooldown() for each in made))
        vendors.asked.clear()
        vendors.answers["a"] = hangs
        with ThreadPoolExecutor(9) as pool:
            calls = [pool.submit(each.ask) for each in made for _ in range(3)]
            assert tried.wait(MAX_WAIT)
            assert eventually(lambda: sum(each.done() for each in calls) == 8)
            go_on.set()
            assert Counter(each.result() for each in calls) == {"a": 1, "b": 8}
        assert Counter(vendors.asked) == {"a": 1, "b": 8}
        assert eventually(lambda: all(each.ask() == "a" for each in made))


@pytest.mark.parametrize("terms", [Terms(), Terms(rpm=100)])
async def test_trial_that_is_cut_off_lets_another_one_begin(redis_url: str, terms: Terms) -> None:
    async with RedisState(redis_url, timeout=5.0) as state:
        routing = RedisRouting(state, Cooldowns(), 60.0)
        for steps in range(15):
            routing.received({"deployment": "a", "cooling": 0, "retry": 0, "half_open": True})
            task = asyncio.ensure_future(routing.aclaim("a", terms, Need(), Risk.NONE))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            (claim,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(claim, Claim):
                await routing.asettle(claim, Outcome(seconds=0.0, requests=1, tokens=None))
            await state.link.acall(("PING",))  # what the server did not know runs after the rest of its pipeline
            assert await state.link.acall(("EXISTS", "anyrerank:trial:a")) == 0
            assert routing.snapshot(["a"]).loads["a"].in_flight == 0


@pytest.mark.parametrize(
    "garbage", [b"\xff", b"5", b"[]", b"{", b'{"cooling": 5}', b'{"deployment": "a", "cooling": "x"}']
)
def test_message_that_makes_no_sense_is_ignored(redis_url: str, garbage: bytes) -> None:
    vendors = Vendors(a=fails(401))
    with replicas(2, redis_url, vendors) as (one, two), Redis.from_url(redis_url) as client:
        client.publish("anyrerank:news", garbage)
        one.ask()
        assert eventually(lambda: two.cooldown() > 0)


def test_deployments_without_an_id_are_the_same_everywhere(redis_url: str) -> None:
    params = {"model": "cohere/rerank-v3.5", "api_base": "http://a.test", "api_key": "k"}
    entries = [{"model_name": "r", "litellm_params": params}]
    with replicas(2, redis_url, Vendors(a=fails(401)), entries) as (one, two):
        one.ask()
        assert eventually(lambda: two.router.deployment_status()[0].cooldown > 0)


def test_replicas_share_a_limit(redis_url: str) -> None:
    vendors = Vendors()
    with replicas(2, redis_url, vendors, [entry("a", rpm=7), entry("b", order=2)]) as made:
        with ThreadPoolExecutor(8) as pool:
            found = Counter(pool.map(lambda number: made[number % 2].ask(), range(40)))
        assert found == Counter(vendors.asked) == {"a": 7, "b": 33}


def test_tokens_are_corrected_by_what_was_used(redis_url: str) -> None:
    def uses(tokens: int) -> Any:
        def answer(request: httpx.Request) -> httpx.Response:
            body = {**ok(request).json(), "meta": {"billed_units": {"total_tokens": tokens}}}
            return httpx.Response(200, json=body)

        return answer

    vendors = Vendors(a=uses(900))
    with replicas(2, redis_url, vendors, [entry("a", tpm=1000), entry("b", order=2)]) as (one, two):
        assert [each.ask() for each in (one, two, one, two)] == ["a", "a", "b", "b"]


def test_call_of_a_replica_that_has_yet_to_listen_counts_once(redis_url: str) -> None:
    terms, need = Terms(rpm=3), Need(1, 0)
    with RedisState(redis_url, timeout=5.0) as first, RedisState(redis_url, timeout=5.0) as new:
        routings = [each.routing(Cooldowns(), 60.0) for each in (first, new)]
        assert all(each.claim("a", terms, need, Risk.NONE) is not None for each in routings)
        new.notifications.start()
        assert eventually(lambda: new.notifications.whole.number > 0)
        assert [each.claim("a", terms, need, Risk.NONE) is not None for each in routings] == [True, False]


def test_call_that_is_refused_waits_without_asking_again_and_again(redis_url: str) -> None:
    with replicas(2, redis_url, Vendors(), [entry("a", rpm=3)]) as (one, two), Redis.from_url(redis_url) as client:
        for _ in range(3):
            assert one.ask() == "a"
        before = commands(client, "evalsha")
        with pytest.raises(RateLimitError) as caught:
            two.router.rerank("r", QUERY, DOCUMENTS, timeout=5)
        assert caught.value.retry_after is not None
        assert 50 < caught.value.retry_after <= 61
        for _ in range(20):
            assert two.ask(timeout=5) is None
        assert commands(client, "evalsha") - before <= 2


def test_large_call_that_is_refused_does_not_stop_small_ones(redis_url: str) -> None:
    with replicas(2, redis_url, Vendors(), [entry("a", tpm=400), entry("b", order=2)]) as (one, two):
        assert one.ask() == "a"
        large = ["a word " * 180]
        assert two.router.rerank("r", QUERY, large).attempts[-1].model_id == "b"
        assert two.ask() == "a"


def test_requests_of_both_replicas_count_where_one_has_waited(redis_url: str) -> None:
    """No minute has more than the limit, though the replicas only know parts of it."""
    with replicas(2, redis_url, Vendors(), [entry("a", rpm=4), entry("b", order=2)]) as (one, two):
        assert [each.ask() for each in (one, two, one, two, one, two)] == ["a"] * 4 + ["b"] * 2


async def test_routers_on_several_loops_share_a_limit(redis_url: str) -> None:
    vendors = Vendors()
    answers: list[str | None] = []

    async def on_a_loop(router: Router) -> None:
        found = await asyncio.gather(*(router.arerank("r", QUERY, DOCUMENTS) for _ in range(8)))
        answers.extend(each.attempts[-1].model_id for each in found)

    def in_a_thread() -> None:
        client = httpx.AsyncClient(transport=httpx.MockTransport(vendors.answer))
        router = Router([entry("a", rpm=10), entry("b", order=2)], state=state, http_client=client)
        asyncio.run(on_a_loop(router))

    with RedisState(redis_url, timeout=5.0) as state:
        threads = [threading.Thread(target=in_a_thread) for _ in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            await asyncio.to_thread(each.join)
    assert Counter(answers) == {"a": 10, "b": 14}


def test_names_that_callers_make_up_break_nothing(redis_url: str) -> None:
    entries = [{"model_name": "cohere/*", "litellm_params": {"model": "cohere/*", "api_key": "k"}}]
    client = httpx.AsyncClient(transport=httpx.MockTransport(not_json))

    async def work() -> None:
        async with RedisState(redis_url) as state:
            router = Router(entries, state=state, http_client=client, num_retries=0)
            for name in ("cohere/\ud800", "cohere/a:b\n", "cohere/ä"):
                with pytest.raises(Exception):  # noqa: B017, PT011
                    await router.arerank(name, QUERY, DOCUMENTS)
            assert await state.link.acall(("PING",))
        await client.aclose()

    began = time.perf_counter()
    asyncio.run(asyncio.wait_for(work(), MAX_WAIT))
    assert time.perf_counter() - began < MAX_WAIT


def test_budgets_of_a_router_are_those_of_its_replicas(redis_url: str) -> None:
    own = Budget(1, "365d")
    with replicas(1, redis_url, Vendors(), model_of_cohere(), budget=own, user_budget=Budget(0.006, "365d")) as (one,):
        given = {"budget": Budget(0.01, "365d"), "user_budget": Budget(0.006, "365d")}
        with replicas(1, redis_url, Vendors(), model_of_cohere(), **given) as (two,):
            assert [each.ask(user="ann") for each in (one, two, one, two)] == ["a", "a", "a", None]
            assert [each.ask(user=name) for name, each in (("bob", two), ("cid", one), ("dan", two))] == [
                "a",
                "a",
                None,
            ]
        assert round(own.spent(), 9) == 0.01


def model_of_cohere() -> list[Any]:
    """A model whose calls cost 0.002 dollars."""
    params = {"model": "cohere/rerank-v3.5", "api_key": "k", "api_base": "http://a.test"}
    return [{"model_name": "r", "litellm_params": params, "model_info": {"id": "a"}}]


def test_budget_with_a_state_of_its_own_keeps_it(redis_url: str) -> None:
    with RedisState(redis_url, prefix="own") as own, RedisState(redis_url) as state:
        budget = Budget(1, state=own, name="mine")
        Router([entry("a")], state=state, budget=budget).close()
        assert budget.shared_in is own.budgets
