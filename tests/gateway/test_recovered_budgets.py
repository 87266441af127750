"""Budgets of two `anyrerank serve` count what was spent while they did not count, or while PostgreSQL was away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.clock import Clock
from tests.support.gateways import Gateways, Replica, race
from tests.support.keys import EACH, paid, serving
from tests.support.loopback import Gate, Loopback, well
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import eventually

from anyrerank.gateway.keys import Database
from anyrerank.gateway.keys.redis_sharing import RedisSharing
from anyrerank.state import RedisState

pytestmark = [pytest.mark.process, pytest.mark.slow]

BUDGETS: dict[str, dict[str, Any]] = {
    "gateway": {"max_budget": 20 * EACH},
    "end user": {"max_end_user_budget": 20 * EACH},
}


@pytest.fixture
def database(new_postgres: Callable[[], PostgresServer]) -> PostgresServer:
    """A running server of the test's own."""
    made = new_postgres()
    made.start()
    return made


@pytest.fixture
def gateways(tmp_path: Path, server: Loopback, redis_url: str, database: PostgresServer) -> Iterator[Gateways]:
    made = Gateways(tmp_path, server.url, redis_url, database.url, seconds=5.0)
    yield made
    made.close()


def limit_of(gateway: Replica, user: str) -> float:
    """The limit of what an end user may spend."""
    return float(gateway.get("/customer/info", end_user_id=user).json()["max_budget"])


@pytest.mark.parametrize("budget", BUDGETS)
def test_budget_that_was_away_counts_what_was_spent_meanwhile(gateways: Gateways, budget: str) -> None:
    gateways.write(litellm_settings=BUDGETS[budget])
    one, two = gateways.pair()
    key = gateways.key(one, two, metadata={"end_user": "ann"})
    assert race((one, two), key, 3) == {200: 3}
    for settings in (dict.fromkeys(BUDGETS[budget]), BUDGETS[budget]):
        gateways.write(litellm_settings=settings)
        for each in (one, two):
            assert each.post("/config/reload").status_code == 200
        if settings != BUDGETS[budget]:
            assert race((one, two), key, 12) == {200: 12}
            assert eventually(lambda: two.recorded_calls() == 15)
    assert race((one, two), key, 20) == {200: 5, 429: 15}


def test_end_user_whose_own_budget_is_deleted_has_spent_what_it_has(gateways: Gateways) -> None:
    gateways.write(litellm_settings=BUDGETS["end user"])
    one, two = gateways.pair()
    key = gateways.key(one, two, metadata={"end_user": "ann"})
    assert race((one, two), key, 3) == {200: 3}
    for path, fields in (("new", {"user_id": "ann", "max_budget": 1.0}), ("delete", {"user_ids": ["ann"]})):
        assert one.post(f"/customer/{path}", **fields).status_code == 200
        limit = 1.0 if path == "new" else 20 * EACH
        assert eventually(lambda: limit_of(two, "ann") == limit)  # noqa: B023
        if path == "new":
            assert race((one, two), key, 12) == {200: 12}
            assert eventually(lambda: two.recorded_calls() == 15)
    assert race((one, two), key, 20) == {200: 5, 429: 15}


@pytest.mark.parametrize("kind", ["key", "customer"])
def test_budget_that_is_given_while_a_call_is_in_flight_counts_it(
    tmp_path: Path, server: Loopback, redis_url: str, kind: str
) -> None:
    clock = Clock()
    with (
        RedisState(redis_url, timeout=5.0) as state,
        Redis.from_url(redis_url) as client,
        closing(Database(f"sqlite:///{tmp_path / 'keys.db'}")) as database,
        serving(tmp_path, [paid(server.url)], sharing=RedisSharing(state, database), monotonic=clock) as gateway,
        ThreadPoolExecutor() as pool,
    ):

        def spent(of: str) -> list[int]:
            return [int(client.hget(name, "spent") or 0) for name in client.scan_iter(f"*:budget:{of}:*")]

        gateway.keyring.start()
        assert gateway.rerank(gateway.new_key(max_budget=1.0)).status_code == 200
        gateway.keyring.ledger.flush()
        (name,) = client.scan_iter("*:budget:key:*")
        for seconds in (1, 3, 6):  # what is done after the start
            client.hset(name, "spent", 0)
            clock.now = 1_000.0 + seconds
            assert eventually(lambda: spent("key") == [EACH * 1e9])
        client.delete(name)
        key = gateway.new_key(metadata={"end_user": "ann"})
        server.script = gate = Gate()
        flying = pool.submit(gateway.rerank, key)
        gate.wait_for(1)
        path, named = ("/key/update", {"key": key}) if kind == "key" else ("/customer/new", {"user_id": "ann"})
        assert gateway.post(path, **named, max_budget=2 * EACH).status_code == 200
        server.script = well
        assert gateway.rerank(key).status_code == 200
        gate.open()
        assert flying.result().status_code == 200
        gateway.keyring.ledger.flush()
        clock.now += 1
        assert eventually(lambda: spent(kind) == [2 * EACH * 1e9])
        assert gateway.rerank(key).status_code == 429


@pytest.mark.parametrize("budget", BUDGETS)
def test_no_budget_begins_anew_before_all_have_written_their_calls(
    gateways: Gateways, database: PostgresServer, redis_url: str, budget: str
) -> None:
    gateways.write(litellm_settings=BUDGETS[budget])
    one, two = gateways.pair()
    key = gateways.key(one, two, metadata={"end_user": "ann"})
    assert race((one, two), key, 2) == {200: 2}
    database.kill()
    assert race((one, two), key, 10) == {200: 10}
    with Redis.from_url(redis_url) as client:
        client.flushdb()
    assert {status for _ in range(3) for status in race((one, two), key, 4)} == {503}
    database.start()
    asked = {200: 0, 429: 0}

    def is_spent() -> bool:
        for status, count in race((one, two), key, 10).items():
            if status in asked:
                asked[status] += count
        return asked[429] > 0

    assert eventually(is_spent)
    assert asked[200] == 8
