"""Replicas that share their state through Redis and PostgreSQL: what that costs, and whether limits hold.

One replica with Redis is compared with one without, in turns, with a key that has a budget and a limit per minute. Then
two replicas get 10,000 calls of a key that may have 1,000 of them. Redis is stopped for some seconds in the middle of a
load, and PostgreSQL for a minute. Both servers run on the same machine as everything else.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from urllib.request import Request, urlopen

from anyrerank import Budget
from anyrerank._core.pricing import reserved
from anyrerank._core.runtime import arun
from anyrerank.state import RedisState
from tests.benchmarks.figures import Figure, reaches_ratio, stays_under, within_ratio
from tests.benchmarks.gateways import KEY, Load, Running, counted, load, started
from tests.benchmarks.loopback import serving
from tests.support.postgres_server import PostgresServer, new_database
from tests.support.redis_server import RedisServer
from tests.support.server_process import new_server

_REQUESTS = 2_000
_ROUNDS = 3
_ALLOWED = 1_000
_OFFERED = 10_000
_PRICE = 0.002
_PAUSE_SECONDS = 5.0
_STOPPED_SECONDS = 60.0
_A_SECOND = 100
_ADMISSIONS, _RATE = 7_000, 1_400


def run() -> list[Figure]:
    """The figures of one and of two replicas."""
    with (
        new_server(RedisServer) as redis,
        new_server(PostgresServer) as postgres,
        serving() as upstream,
        TemporaryDirectory() as folder,
    ):
        redis.start()
        postgres.start()
        with new_database(postgres.url) as apart, new_database(postgres.url) as worker_metrics:
            alone = _command(Path(folder, "alone.yaml"), upstream, apart)
            shared = [*_command(Path(folder, "shared.yaml"), upstream, worker_metrics), "--redis-url", redis.url]
            figures = asyncio.run(_cost(alone, shared))
            figures += asyncio.run(_limits(shared))
            figures += asyncio.run(_outage(shared, redis))
            figures += asyncio.run(_stopped(shared, postgres))
            figures.append(asyncio.run(_admission(redis.url)))
    return figures


async def _cost(alone: list[str], shared: list[str]) -> list[Figure]:
    """One replica with shared state and one without, in turns."""
    loads: dict[str, list[Load]] = {"alone": [], "shared": []}
    with started(alone, "/rerank") as first, started(shared, "/rerank") as second:
        gateways = {"alone": first, "shared": second}
        keys = {name: _new_key(gateway, max_budget=1e6, rpm_limit=10**9) for name, gateway in gateways.items()}
        for name, gateway in gateways.items():
            await load(gateway, 64, 300, keys[name])
        for _ in range(_ROUNDS):
            for name, gateway in gateways.items():
                loads[name].append(await load(gateway, 64, _REQUESTS, keys[name]))
    rates = {name: median(each.rate for each in found) for name, found in loads.items()}
    cpu = {name: median(each.cpu for each in found) for name, found in loads.items()}
    return [
        reaches_ratio("replicas", "one without shared state, 64", rates["shared"], rates["alone"], "req/s", limit=0.85),
        within_ratio("replicas", "the same, CPU a request", cpu["shared"], cpu["alone"], "ms", limit=1 / 0.85),
    ]


async def _limits(shared: list[str]) -> list[Figure]:
    """Calls of two replicas that are answered beyond a limit, for a limit per minute and for a budget."""
    with ExitStack() as opened:
        gateways = [opened.enter_context(started(shared, "/rerank")) for _ in range(2)]
        figures = []
        limits: dict[str, dict[str, float]] = {
            "calls beyond a limit per minute": {"rpm_limit": _ALLOWED},
            "calls beyond a budget": {"max_budget": _ALLOWED * _PRICE},
        }
        for what, fields in limits.items():
            key = _new_key(gateways[0], **fields)
            _wait_for(gateways[1], key)
            statuses: Counter[int] = Counter()
            each = _OFFERED // len(gateways)
            await asyncio.gather(*(counted(gateway, 64, each, statuses, key) for gateway in gateways))
            sys.stderr.write(f"  {what}: {dict(statuses)} of {_OFFERED} calls, {_ALLOWED} allowed\n")
            beyond = abs(statuses[200] - _ALLOWED) + _OFFERED - statuses[200] - statuses[429]
            figures.append(stays_under("replicas", what, beyond, None, "calls", limit=0))
    return figures


async def _outage(shared: list[str], redis: RedisServer) -> list[Figure]:
    """A load of a key without a budget, while Redis is stopped and goes on."""
    with started(shared, "/rerank") as gateway:
        key = _new_key(gateway, rpm_limit=10**9)
        before = await load(gateway, 16, 2_000, key)
        statuses: Counter[int] = Counter()
        redis.pause()
        until = time.monotonic() + _PAUSE_SECONDS
        worst = 0.0
        while time.monotonic() < until:
            worst = max(worst, (await counted(gateway, 16, 500, statuses, key)).p99)
        redis.resume()
        after = await counted(gateway, 16, 2_000, statuses, key)
    others = sum(count for status, count in statuses.items() if status != 200)
    sys.stderr.write(f"  p99 before {before.p99:.1f} ms, while Redis is stopped {worst:.1f}, after {after.p99:.1f}\n")
    return [
        stays_under("replicas", "refused while Redis is stopped", others, None, "calls", limit=0),
        stays_under("replicas", "p99 added while Redis is stopped", worst - before.p99, None, "ms", limit=60),
    ]


async def _stopped(shared: list[str], postgres: PostgresServer) -> list[Figure]:
    """A load of a key with a budget at two replicas, while PostgreSQL is stopped for a minute."""
    with ExitStack() as opened:
        gateways = [opened.enter_context(started(shared, "/rerank")) for _ in range(2)]
        key = _new_key(gateways[0], max_budget=1e6, rpm_limit=10**9)
        _wait_for(gateways[1], key)
        statuses: Counter[int] = Counter()

        async def loaded(seconds: float) -> None:
            until = time.monotonic() + seconds
            while (now := time.monotonic()) < until:
                await asyncio.gather(*(counted(each, 8, _A_SECOND // 2, statuses, key) for each in gateways))
                await asyncio.sleep(now + 1 - time.monotonic())

        await loaded(3)
        postgres.stop()
        await loaded(_STOPPED_SECONDS)
        postgres.start()
        began = time.perf_counter()
        await loaded(3)
        recorded = 0
        while recorded < statuses[200] and time.perf_counter() - began < _STOPPED_SECONDS:
            await asyncio.sleep(0.1)
            recorded = min(_recorded(gateway, key) for gateway in gateways)
        sys.stderr.write(f"  {dict(statuses)} calls, {recorded} recorded {time.perf_counter() - began:.1f} s later\n")
    lost = sum(statuses.values()) - statuses[200]
    return [
        stays_under("replicas", "refused while PostgreSQL is stopped", lost, None, "calls", limit=0),
        stays_under("replicas", "not in the ledger afterwards", statuses[200] - recorded, None, "calls", limit=0),
    ]


async def _admission(url: str) -> Figure:
    """How long it takes to reserve a call in a budget, at the rate of a replica."""
    latencies: list[float] = []
    async with RedisState(url, prefix="bench") as state:
        budget = Budget(1e6, "1d", state=state, name="bench")

        async def one(at: float) -> None:
            await asyncio.sleep(at - time.perf_counter())
            began = time.perf_counter()
            spending = await arun(reserved([(budget, None)], _PRICE))
            latencies.append(1000 * (time.perf_counter() - began))
            spending.settle(_PRICE)

        await one(time.perf_counter())
        start = time.perf_counter() + 0.1
        await asyncio.gather(*(one(start + number / _RATE) for number in range(_ADMISSIONS)))
    return stays_under(
        "replicas", f"admission at {_RATE:,} a second, p99", quantiles(latencies, n=100)[98], None, "ms", limit=2
    )


def _command(path: Path, upstream: str, database: str) -> list[str]:
    params = {"model": "cohere/rerank-v3.5", "api_key": "vendor-key", "api_base": upstream}
    document = {
        "model_list": [{"model_name": "rerank", "litellm_params": params}],
        "general_settings": {"master_key": KEY, "database_url": database},
    }
    path.write_text(json.dumps(document))
    return [sys.executable, "-m", "anyrerank", "serve", "--config", str(path)]


def _new_key(gateway: Running, **fields: float) -> str:
    url = f"http://127.0.0.1:{gateway.port}/key/generate"
    request = Request(url, json.dumps(fields).encode(), {"authorization": f"Bearer {KEY}"})
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(json.load(answer)["key"])


def _recorded(gateway: Running, key: str) -> int:
    """How many calls of a key are in the ledger, as a replica says; 0 if it cannot."""
    url = f"http://127.0.0.1:{gateway.port}/spend/keys"
    try:
        with urlopen(Request(url, headers={"authorization": f"Bearer {key}"}), timeout=60) as answer:
            return sum(int(row["calls"]) for row in json.load(answer))
    except OSError:
        return 0


def _wait_for(gateway: Running, key: str) -> None:
    """Wait until a replica knows a key that was made at another one."""
    request = Request(f"http://127.0.0.1:{gateway.port}/key/info", headers={"authorization": f"Bearer {key}"})
    for _ in range(100):
        try:
            urlopen(request, timeout=10).close()  # noqa: S310
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("a replica does not learn of a new key")
