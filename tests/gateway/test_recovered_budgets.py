"""Budgets of two `anyrerank serve` count what was spent while they did not count, or while PostgreSQL was away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.gateways import Gateways, Replica, race
from tests.support.keys import EACH
from tests.support.loopback import Loopback
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import eventually

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
