"""Replicas whose Redis fails over to another server, or takes no more data, in the middle of load."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis
from tests.support.cable import cable
from tests.support.gateways import Gateways, Replica, race
from tests.support.keys import EACH
from tests.support.loopback import Gate, Loopback, well
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def redis(new_redis: Callable[..., RedisServer]) -> RedisServer:
    """A Redis server of the test's own."""
    made = new_redis()
    made.start()
    return made


@pytest.fixture
def made(tmp_path: Path, server: Loopback, database_url: str) -> Iterator[Callable[[str], Gateways]]:
    """Makes gateways that share a Redis server with this URL."""
    found: list[Gateways] = []

    def make(redis_url: str) -> Gateways:
        found.append(Gateways(tmp_path, server.url, redis_url, database_url, seconds=1.0))
        return found[-1]

    yield make
    for each in found:
        each.close()


def test_failover_in_mid_load_neither_forgets_nor_doubles_what_was_spent(
    redis: RedisServer, new_redis: Callable[..., RedisServer], made: Callable[[str], Gateways]
) -> None:
    other = new_redis()
    other.start(replicaof=f"127.0.0.1 {redis.port}")
    with cable(redis.url) as network, Redis.from_url(redis.url) as old, Redis.from_url(other.url) as new:
        assert eventually(lambda: new.info("replication")["master_link_status"] == "up")
        gateways = made(network.url)
        one, two = gateways.pair()
        key = gateways.key(one, two, max_budget=300 * EACH)

        def fail_over() -> None:
            old.execute_command("FAILOVER", "TO", "127.0.0.1", other.port)
            assert eventually(lambda: new.info("replication")["role"] == "master")
            network.lead_to(other.url)

        counted = race_while((one, two), key, 200, fail_over)
        assert counted.keys() <= {200, 503}
        for each in (one, two):
            assert eventually(lambda: each.ask(key).status_code == 200)  # noqa: B023
        left = round(300 - one.spend_once_known(key) / EACH)
        assert race((one, two), key, left + 30) == {200: left, 429: 30}
        assert one.spend_once_known(key) == two.spend_once_known(key) == round(300 * EACH, 9)
        assert eventually(lambda: one.recorded_calls() == two.recorded_calls() == 300)


def test_redis_whose_memory_is_full_refuses_budgets_and_loses_nothing(
    redis: RedisServer, made: Callable[[str], Gateways]
) -> None:
    gateways = made(redis.url)
    one, two = gateways.pair()
    free, key = gateways.key(one, two, rpm_limit=10_000), gateways.key(one, two, max_budget=300 * EACH)
    with Redis.from_url(redis.url) as client:
        counted = race_while((one, two), key, 100, lambda: client.config_set("maxmemory", "1mb"))
        assert counted.keys() <= {200, 503}
        assert race((one, two), free, 50) == {200: 50}
        assert one.ask(key).status_code == 503
        assert eventually(lambda: "redis" in one.get("/health/readiness").json()["degraded"])
        logged = "used memory > 'maxmemory'; until it is back"
        assert eventually(lambda: logged in (gateways.config.parent / "errors").read_text())
        client.config_set("maxmemory", "0")
    for each in (one, two):
        assert eventually(lambda: each.ask(key).status_code == 200)  # noqa: B023
    answered = counted[200] + 2
    assert eventually(lambda: round(answered * EACH, 9) <= one.spend(key) == two.spend(key))


@pytest.mark.parametrize("limit", [{"max_budget": 300 * EACH}, {"rpm_limit": 300}], ids=["budget", "requests"])
def test_redis_that_loses_its_data_in_mid_load_lets_no_call_beyond_a_limit(
    redis: RedisServer, made: Callable[[str], Gateways], server: Loopback, limit: dict[str, float]
) -> None:
    gateways = made(redis.url)
    one, two = gateways.pair()
    key = gateways.key(one, two, **limit)
    answered = race((one, two), key, 40)[200]

    def restart() -> None:
        redis.kill()
        redis.start()

    counted = race_while((one, two), key, 200, restart)
    assert counted.keys() <= {200, 429, 503}
    assert eventually(lambda: one.ask(key).status_code in (200, 429))
    rest = race((one, two), key, 400)
    assert rest.keys() <= {200, 429}
    assert len(server.hits) <= 300
    assert answered + counted[200] + rest[200] <= 300


def test_both_servers_that_are_killed_in_mid_load_let_no_call_beyond_a_budget(
    tmp_path: Path, redis: RedisServer, new_postgres: Callable[[], PostgresServer], server: Loopback
) -> None:
    database = new_postgres()
    database.start()
    with closing(Gateways(tmp_path, server.url, redis.url, database.url, seconds=1.0)) as gateways:
        one, two = gateways.pair()
        key = gateways.key(one, two, max_budget=150 * EACH)
        assert race((one, two), key, 40) == {200: 40}

        def restart() -> None:
            database.kill()
            redis.kill()
            redis.start()
            assert race((one, two), key, 20) == {503: 20}  # it is not known what was spent
            database.start()

        race_while((one, two), key, 60, restart)
        assert eventually(lambda: {each.ask(key).status_code for each in (one, two)} <= {200, 429}, within=30)
        race((one, two), key, 200)
        assert len(server.hits) <= 150
        assert one.spend_once_known(key) == two.spend_once_known(key) <= round(150 * EACH, 9)


def test_calls_in_flight_count_after_redis_has_lost_its_data(
    redis: RedisServer, made: Callable[[str], Gateways], server: Loopback
) -> None:
    server.script = gate = Gate()
    gateways = made(redis.url)
    one, two = gateways.pair()
    budget, parallel = gateways.key(one, two, max_budget=3 * EACH), gateways.key(one, two, max_parallel_requests=3)
    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(each.ask, key) for key in (budget, parallel) for each in (one, two, one)]
        gate.wait_for(len(calls))
        with Redis.from_url(redis.url) as client:
            client.flushall()
        assert [each.ask(key).status_code for key in (budget, parallel) for each in (one, two)] == [429] * 4
        gate.open()
        assert [each.result().status_code for each in calls] == [200] * 6
    server.script = well
    assert [each.ask(budget).status_code for each in (one, two)] == [429] * 2
    assert one.spend(budget) == two.spend(budget) == round(3 * EACH, 9)


def race_while(gateways: tuple[Replica, ...], key: str, calls: int, event: Callable[[], object]) -> Counter[int]:
    """The statuses of calls that race while something happens."""
    counted: Counter[int] = Counter()
    racing = threading.Thread(target=lambda: counted.update(race(gateways, key, calls)))
    racing.start()
    event()
    racing.join()
    return counted
