"""Replicas whose network to Redis or to PostgreSQL is cut: connections are refused, or nothing arrives any more."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.cable import Cable, Fault, cable
from tests.support.gateways import MASTER, Gateways, Replica, race
from tests.support.keys import EACH
from tests.support.loopback import Loopback
from tests.support.waiting import eventually, took

pytestmark = [pytest.mark.process, pytest.mark.slow]

both_faults = pytest.mark.parametrize("fault", ["refused", "silent"])


@pytest.fixture
def redis(redis_url: str) -> Iterator[Cable]:
    """The network to Redis."""
    with cable(redis_url) as made:
        yield made


@pytest.fixture
def database(database_url: str) -> Iterator[Cable]:
    """The network to PostgreSQL."""
    with cable(database_url) as made:
        yield made


@pytest.fixture
def gateways(tmp_path: Path, server: Loopback, redis_url: str, database_url: str) -> Iterator[Gateways]:
    """Gateways of which those that `behind` starts reach their servers through the cables, and others directly."""
    made = Gateways(tmp_path, server.url, redis_url, database_url, seconds=1.0)
    yield made
    made.close()


def behind(gateways: Gateways, redis: Cable, database: Cable) -> Replica:
    return gateways.start("--redis-url", redis.url, "--database-url", database.url)


@both_faults
def test_replica_that_cannot_reach_redis_spends_no_budget_and_goes_on_without_one(
    gateways: Gateways, redis: Cable, database: Cable, fault: Fault
) -> None:
    one, two = behind(gateways, redis, database), gateways.start()
    free = gateways.key(one, two, rpm_limit=100_000)
    paid = gateways.key(one, two, max_budget=50 * EACH)
    assert race((one, two), free, 20) == race((one, two), paid, 20) == {200: 20}
    redis.cut(fault)
    assert race((one, two), free, 200) == {200: 200}
    with ThreadPoolExecutor(1) as pool:
        slowest = max(pool.map(lambda _: took(lambda: one.ask(free)), range(20)))
    assert slowest < 0.7, slowest
    assert race((one,), paid, 20) == {503: 20}
    assert race((two,), paid, 20) == {200: 20}
    assert one.get("/health/readiness").json()["degraded"] == {"redis": "Redis does not answer"}
    redis.mend()
    assert took(lambda: eventually(lambda: one.ask(paid).status_code == 200)) < 3
    assert race((one, two), paid, 40) == {200: 9, 429: 31}
    assert one.spend_once_known(paid) == two.spend_once_known(paid) == round(50 * EACH, 9)


@both_faults
def test_replica_that_cannot_reach_the_database_loses_no_call(
    gateways: Gateways, redis: Cable, database: Cable, fault: Fault
) -> None:
    one, two = behind(gateways, redis, database), gateways.start()
    key, revoked = (gateways.key(one, two, max_budget=1.0, rpm_limit=10_000) for _ in range(2))
    assert race((one, two), key, 10) == race((one, two), revoked, 10) == {200: 10}
    database.cut(fault)
    assert race((one, two), key, 100) == {200: 100}
    assert eventually(lambda: "database" in one.get("/health/readiness").json().get("degraded", {}))
    assert two.post("/key/delete", MASTER, keys=[revoked]).status_code == 200
    assert two.ask(revoked).status_code == 401
    assert race((one,), key, 10) == {200: 10}
    database.mend()
    assert eventually(lambda: one.ask(revoked).status_code == 401)
    assert eventually(lambda: one.recorded_calls(key) == two.recorded_calls(key) == 120, within=30)
