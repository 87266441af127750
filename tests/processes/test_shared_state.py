"""Budgets and routers that share a state, in processes that are forked, killed and pickled."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest
from redis import Redis
from tests.support.harness import DOCUMENTS, KEY, QUERY
from tests.support.loopback import Loopback
from tests.support.processes import forked, needs_fork
from tests.support.redis_server import RedisServer
from tests.support.replicas import Vendors, replicas
from tests.support.routing import entry, fails
from tests.support.spending import pay, spends
from tests.support.waiting import eventually

from anyrerank import Budget, Reranker, Router
from anyrerank.state import RedisState

_VARIABLE = "ANYRERANK_SHARED_STATE_TEST"
_SPENDER = """
import sys
from anyrerank import Budget, BudgetExceededError
from anyrerank._core.pricing.spending import reserved
from anyrerank._core.runtime import run
from anyrerank.state import RedisState

budget = Budget(1.0, "365d", state=RedisState(sys.argv[1], timeout=5.0), name="race")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(60):
    try:
        spending = run(reserved([(budget, None)], 0.01))
    except BudgetExceededError:
        continue
    print("paid", flush=True)  # before it settles: what a killed process has printed was reserved
    spending.settle(0.01)
"""


def spender(url: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _SPENDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_race_never_overspend_even_if_one_is_killed(redis_url: str) -> None:
    processes = [spender(redis_url) for _ in range(3)]
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    assert processes[0].stdout is not None
    processes[0].stdout.readline()
    processes[0].kill()
    paid = 1
    for each in processes:
        assert each.stdout is not None
        paid += each.stdout.read().count("paid")
        each.communicate()
    with RedisState(redis_url) as state:
        budget = Budget(1.0, "365d", state=state, name="race")
        held = (1 - budget.left()) - budget.spent()  # by the process that was killed, until it expires
        assert paid in (99, 100)  # it may have reserved without having printed that
        assert round(budget.left(), 9) == 0
        assert 0 <= round(held, 9) <= 0.01


def _spend(budget: Budget) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return sum(spends(budget, 0.01) for _ in range(20))


def test_pickles_keep_one_budget_and_hold_no_password(
    new_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_redis(password="pass-Word-1")
    server.start()
    monkeypatch.setenv(_VARIABLE, server.url)
    state = RedisState(f"os.environ/{_VARIABLE}", timeout=5.0)
    budget = Budget(0.5, "365d", state=state, name="pickled")
    assert b"Word" not in pickle.dumps(budget)
    assert "Word" not in repr(budget)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert sum(pool.map(_spend, [budget] * 4, chunksize=1)) == 50
    assert round(budget.spent(), 9) == 0.5
    state.close()


def test_copy_of_a_budget_without_a_state_warns() -> None:
    with pytest.warns(RuntimeWarning, match="pass state= and name="):
        pickle.dumps(Budget(1))


def test_router_and_reranker_pickle_with_their_state(redis_url: str, server: Loopback) -> None:
    params = {"model": "cohere/rerank-v3.5", "api_base": server.url, "api_key": KEY}
    entries = [{"model_name": "r", "litellm_params": {**params, "rpm": 3}, "model_info": {"id": "a"}}]
    budget = Budget(1, "365d", state=RedisState(redis_url, timeout=5.0), name="pickled")
    with Router(entries, state=RedisState(redis_url, timeout=5.0), max_wait=0.0) as router:
        copied: Router = pickle.loads(pickle.dumps(router))  # noqa: S301
        for each in (router, copied, router):
            each.rerank("r", QUERY, DOCUMENTS)
        with pytest.raises(Exception, match="rate limited"):
            copied.rerank("r", QUERY, DOCUMENTS)
    reranker = Reranker("cohere/rerank-v3.5", api_base=server.url, api_key=KEY, budget=budget)
    other: Reranker = pickle.loads(pickle.dumps(reranker))  # noqa: S301
    for one in (reranker, other):
        one.rerank(QUERY, DOCUMENTS)
        one.close()
    assert budget.spent() == pytest.approx(0.004)


@needs_fork
def test_child_shares_the_budget_of_its_parent(redis_url: str) -> None:
    with RedisState(redis_url, timeout=5.0) as state:
        budget = Budget(1, "365d", state=state, name="forked")
        assert spends(budget, 0.3)
        held = pay(budget, 0.2)
        assert forked(lambda: [spends(budget, 0.3), spends(budget, 0.3), round(budget.spent(), 9)]) == (
            "[True, False, 0.6]"
        )
        held.settle(0.1)
        assert round(budget.spent(), 9) == 0.7


@needs_fork
def test_child_hears_of_a_cooldown(redis_url: str) -> None:
    vendors = Vendors(a=fails(401))
    with replicas(2, redis_url, vendors, [entry("a"), entry("b")], cooldown_time=60) as (one, two):
        two.ask()

        def in_the_child() -> str:
            one.router.deployment_status()
            hears = eventually(lambda: two.cooldown("a") > 50 and one.cooldown("a") > 50)
            return str(hears)

        assert eventually(lambda: two.ask() and one.cooldown("a") > 50 and two.cooldown("a") > 50)
        assert forked(in_the_child) == "True"


def test_many_loops_leave_no_connection_and_no_warning(redis_url: str, server: Loopback) -> None:
    params = {"model": "cohere/rerank-v3.5", "api_base": server.url, "api_key": KEY}
    entries = [{"model_name": "r", "litellm_params": {**params, "rpm": 1000}, "model_info": {"id": "a"}}]
    budget = Budget(1, "365d", state=RedisState(redis_url, timeout=5.0), name="loops")
    with Redis.from_url(redis_url) as client, warnings.catch_warnings():
        warnings.simplefilter("error")

        def connections() -> int:
            return sum(each["name"] == "anyrerank" for each in client.client_list())

        router = Router(entries, state=RedisState(redis_url, timeout=5.0), budget=budget)

        async def work() -> None:
            await asyncio.gather(*(router.arerank("r", QUERY, DOCUMENTS) for _ in range(3)))

        asyncio.run(work())
        before = connections()
        for _ in range(15):
            asyncio.run(work())
        gc.collect()
        assert eventually(lambda: connections() <= before)
        assert round(budget.spent(), 9) == 16 * 3 * 0.002


def test_state_that_is_forgotten_leaves_no_thread_and_no_connection(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:

        def connections() -> int:
            gc.collect()
            return sum(each["name"] == "anyrerank" for each in client.client_list())

        before = connections()
        text = pickle.dumps(RedisState(redis_url, timeout=5.0))

        def use() -> None:
            copied: RedisState = pickle.loads(text)  # noqa: S301
            copied.notifications.start()
            copied.link.call(("PING",))

        for _ in range(5):
            use()
        assert eventually(lambda: connections() <= before)
