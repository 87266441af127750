"""Two `anyrerank serve` that share a Redis and a PostgreSQL server act as one."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.gateways import MASTER, Gateways, race, start
from tests.support.keys import EACH
from tests.support.loopback import Gate, Loopback, well
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually, took

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def gateways(tmp_path: Path, server: Loopback, redis_url: str, database_url: str) -> Iterator[Gateways]:
    # Where Redis does not answer in time, replicas have a share of the limits each: not what these tests are about.
    made = Gateways(tmp_path, server.url, redis_url, database_url, seconds=5.0)
    yield made
    made.close()


def test_a_key_is_made_changed_and_revoked_everywhere_at_once(gateways: Gateways) -> None:
    one, two = gateways.pair()
    key = one.new_key(max_budget=3 * EACH)
    assert took(lambda: eventually(lambda: two.knows(key))) < 1
    assert [each.ask(key).status_code for each in (one, two)] == [200, 200]
    assert [each.spend(key) for each in (one, two)] == [2 * EACH, 2 * EACH]
    left = two.ask(key).headers["x-anyrerank-budget-remaining"]
    assert float(left) == pytest.approx(0)
    assert [each.ask(key).status_code for each in (one, two)] == [429, 429]
    two.post("/key/update", key=key, max_budget=10 * EACH)
    assert took(lambda: eventually(lambda: one.ask(key).status_code == 200)) < 1
    one.post("/key/delete", keys=[key])
    assert took(lambda: eventually(lambda: two.ask(key).status_code == 401)) < 1


def test_what_a_key_spends_while_it_has_no_budget_counts_when_it_has_one_again(gateways: Gateways) -> None:
    one, two = gateways.pair()
    key = gateways.key(one, two, max_budget=10 * EACH)
    assert race((one, two), key, 3) == {200: 3}
    for budget in (None, 10 * EACH):
        assert one.post("/key/update", key=key, max_budget=budget).status_code == 200
        assert eventually(lambda: two.get("/key/info", key).json()["info"]["max_budget"] == budget)  # noqa: B023
        if budget is None:
            assert race((one, two), key, 5) == {200: 5}
            assert eventually(lambda: two.get("/spend/keys", key).json()[0]["calls"] == 8)
    assert eventually(lambda: one.spend(key) == two.spend(key) == round(8 * EACH, 9))
    assert race((one, two), key, 20) == {200: 2, 429: 18}


def test_headers_count_the_calls_of_both(gateways: Gateways) -> None:
    one, two = gateways.pair()
    key = gateways.key(one, two, rpm_limit=10, tpm_limit=10_000)
    found = [each.ask(key).headers for each in (one, two, one)]
    assert [each["x-ratelimit-remaining-requests"] for each in found] == ["9", "8", "7"]
    assert 0 < int(found[2]["x-ratelimit-reset-requests"]) <= 61
    tokens = [int(each["x-ratelimit-remaining-tokens"]) for each in found]
    assert 10_000 > tokens[0] > tokens[1] > tokens[2]


def test_spend_in_headers_is_that_at_both_or_missing(gateways: Gateways) -> None:
    one, two = gateways.pair()
    paid, free = gateways.key(one, two, max_budget=1.0), gateways.key(one, two)
    found = [[each.ask(key).headers.get("x-litellm-key-spend") for each in (one, two)] for key in (paid, free, MASTER)]
    assert found == [["0.002", "0.004"], [None, None], [None, None]]


def test_races_at_both_never_exceed_a_limit(gateways: Gateways, server: Loopback) -> None:
    one, two = gateways.pair()
    requests = gateways.key(one, two, rpm_limit=40)
    assert race((one, two), requests, 300) == {200: 40, 429: 260}
    budget = gateways.key(one, two, max_budget=40 * EACH)
    assert race((one, two), budget, 300) == {200: 40, 429: 260}
    assert one.spend(budget) == two.spend(budget) == round(40 * EACH, 9)
    tokens = gateways.key(one, two, tpm_limit=100)
    used = race((one, two), tokens, 100)[200]
    assert 0 < used < 100
    assert len(server.hits) == 80 + used


def test_calls_at_the_same_time_are_limited_over_both(gateways: Gateways, server: Loopback) -> None:
    server.script = gate = Gate()
    one, two = gateways.pair()
    key = gateways.key(one, two, max_parallel_requests=3)
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit((one, two)[number % 2].ask, key) for number in range(10)]
        assert eventually(lambda: sum(each.done() for each in calls) == 7)
        gate.wait_for(3)
        gate.open()
        assert Counter(each.result().status_code for each in calls) == {200: 3, 429: 7}
    assert eventually(lambda: one.ask(key).status_code == two.ask(key).status_code == 200)


def test_cooldown_at_one_is_known_at_the_other(gateways: Gateways, server: Loopback) -> None:
    gateways.write(router_settings={"allowed_fails": 0, "cooldown_time": 60})
    one, two = gateways.pair()
    assert two.ask(MASTER).status_code == one.ask(MASTER).status_code == 200
    server.script = lambda line: line.answer(500)
    assert one.ask(MASTER).status_code >= 500
    server.script = well
    assert eventually(lambda: two.get("/health").json()["unhealthy_count"] == 1)


def test_killed_replica_holds_only_its_calls_in_flight_and_not_for_ever(
    gateways: Gateways, server: Loopback, redis_url: str
) -> None:
    one, two = gateways.pair()
    key = gateways.key(one, two, max_budget=80 * EACH, max_parallel_requests=64)
    assert one.ask(key).status_code == 200
    server.script = gate = Gate()
    calls = threading.Thread(target=race, args=((one,), key, 64, 64))
    calls.start()
    gate.wait_for(64)
    one.signal(signal.SIGKILL)
    gate.open()
    calls.join()
    server.script = well
    assert two.ask(key).status_code == 429  # there are 64 in flight
    with Redis.from_url(redis_url) as client:
        assert later(client, "anyrerank:calls:*:in_flight", 61) == 64
        assert race((two,), key, 30) == {200: 15, 429: 15}
        three = gateways.start()
        assert three.spend(key) == two.spend(key) == round(16 * EACH, 9)
        assert later(client, "anyrerank:reservations:*", 901) == 64
    assert race((two, three), key, 80) == {200: 64, 429: 16}


def later(client: Any, pattern: str, seconds: float) -> int:
    """Let that much time pass for what is in a sorted set by the time at which it ends, and return how much that is."""
    (name,) = client.scan_iter(pattern)
    found = client.zrange(name, 0, -1, withscores=True)
    client.zadd(name, {member: when - seconds for member, when in found})
    return len(found)


def test_reload_keeps_shared_budgets(gateways: Gateways) -> None:
    gateways.write(litellm_settings={"max_budget": 4 * EACH, "budget_duration": "365d"})
    one, two = gateways.pair()
    assert [each.ask(MASTER).status_code for each in (one, two)] == [200, 200]
    gateways.write(anyrerank_settings={"queue": 65})
    one.signal(signal.SIGHUP)
    assert eventually(lambda: "the configuration was reloaded" in (gateways.config.parent / "errors").read_text())
    assert [each.ask(MASTER).status_code for each in (one, two, one, two)] == [200, 200, 429, 429]
    three = gateways.start()
    assert three.ask(MASTER).status_code == 429


@pytest.mark.parametrize("is_allowed", [False, True])
def test_redis_hangs_and_comes_back(
    tmp_path: Path, server: Loopback, new_redis: Callable[..., RedisServer], database_url: str, *, is_allowed: bool
) -> None:
    redis = new_redis()
    redis.start()
    gateways = Gateways(tmp_path, server.url, redis.url, database_url)
    gateways.write(general_settings={"allow_requests_on_db_unavailable": is_allowed})
    try:
        one, two = gateways.pair()
        free = gateways.key(one, two, rpm_limit=100_000)
        paid = gateways.key(one, two, max_budget=1.0)
        assert race((one, two), free, 10) == race((one, two), paid, 10) == {200: 10}
        redis.pause()
        assert race((one, two), free, 200) == {200: 200}
        with ThreadPoolExecutor(1) as pool:
            slowest = max(pool.map(lambda _: took(lambda: one.ask(free)), range(30)))
        assert slowest < 0.7, slowest
        expected = 200 if is_allowed else 503
        assert race((one, two), paid, 40) == {expected: 40}
        if not is_allowed:
            refused = one.ask(paid)
            assert "retry-after" in refused.headers
            assert "Redis" in refused.text
            assert "allow_requests_on_db_unavailable" in refused.text
            assert redis.url not in refused.text
        redis.resume()
        assert took(lambda: eventually(lambda: all(each.ask(paid).status_code == 200 for each in (one, two)))) < 3
        calls = 10 + 40 * is_allowed
        spent = [round(number * EACH, 9) for number in range(calls + 2, calls + 200)]
        assert eventually(lambda: one.spend(paid) == two.spend(paid) and one.spend(paid) in spent)
    finally:
        gateways.close()


def test_redis_that_lost_its_data_gets_the_spend_of_the_ledger(
    tmp_path: Path, server: Loopback, new_redis: Callable[..., RedisServer], database_url: str
) -> None:
    redis = new_redis()
    redis.start()
    gateways = Gateways(tmp_path, server.url, redis.url, database_url)
    try:
        one, two = gateways.pair()
        key = gateways.key(one, two, max_budget=20 * EACH)
        assert race((one, two), key, 10) == {200: 10}
        assert eventually(lambda: len(ledger(one)) and ledger(one)[0]["calls"] == 10)
        redis.kill()
        assert one.ask(key).status_code == 503
        redis.start()
        assert eventually(lambda: one.spend(key) == round(10 * EACH, 9) == two.spend(key))
        for each in (one, two):
            assert eventually(lambda: each.ask(key).status_code == 200)  # noqa: B023
        assert race((one, two), key, 30) == {200: 8, 429: 22}
    finally:
        gateways.close()


def ledger(gateway: object) -> list[dict[str, float]]:
    return gateway.get("/spend/keys").json()  # type: ignore[attr-defined, no-any-return]


def test_database_stops_and_comes_back(
    tmp_path: Path, server: Loopback, redis_url: str, new_postgres: Callable[[], PostgresServer]
) -> None:
    database = new_postgres()
    database.start()
    gateways = Gateways(tmp_path, server.url, redis_url, database.url)
    try:
        one, two = gateways.pair()
        key = gateways.key(one, two, max_budget=1.0, rpm_limit=10_000)
        assert race((one, two), key, 10) == {200: 10}
        database.stop()
        assert race((one, two), key, 100) == {200: 100}
        database.start()

        assert eventually(lambda: one.recorded_calls() == two.recorded_calls() == 110, within=30)
        assert one.spend(key) == two.spend(key) == round(110 * EACH, 9)
    finally:
        gateways.close()


@pytest.mark.parametrize("fault", ["nothing listens", "password", "replica", "evicts", "no URL"])
def test_redis_that_cannot_be_used_is_refused_at_the_start(
    gateways: Gateways, new_redis: Callable[..., RedisServer], fault: str
) -> None:
    redis = new_redis(password="pass-Word-1")
    settings = {
        "replica": {"replicaof": "127.0.0.1 1"},
        "evicts": {"maxmemory": "5mb", "maxmemory_policy": "allkeys-lru"},
    }
    if fault != "nothing listens":
        redis.start(**settings.get(fault, {}))
    url = {"password": redis.url.replace("pass-Word-1", "wrong-Word-2"), "no URL": "http://:pass-Word-1@host"}
    gateways.write(anyrerank_settings={"redis_url": url.get(fault, redis.url)})
    process = start(gateways.config)
    assert process.wait(30) != 0
    process.communicate()
    (line,) = (gateways.config.parent / "errors").read_text().splitlines()
    assert "edis" in line
    assert "Word" not in line
