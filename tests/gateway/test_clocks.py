"""Replicas whose clocks are far apart: what they share is counted by the clocks of the servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from tests.support.gateways import MASTER, Gateways, race
from tests.support.keys import EACH
from tests.support.loopback import Loopback, well
from tests.support.waiting import eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]

YEAR = 366 * 24 * 3600.0


@pytest.fixture
def gateways(tmp_path: Path, server: Loopback, redis_url: str, database_url: str) -> Iterator[Gateways]:
    made = Gateways(tmp_path, server.url, redis_url, database_url, seconds=5.0)
    made.write(router_settings={"allowed_fails": 0, "cooldown_time": 60})
    yield made
    made.close()


@pytest.mark.parametrize("ahead", [YEAR, -YEAR])
def test_limits_and_keys_do_not_depend_on_the_clock_of_a_replica(
    gateways: Gateways, server: Loopback, ahead: float
) -> None:
    one, two = gateways.start(), gateways.skewed(ahead)
    budget = gateways.key(one, two, max_budget=20 * EACH, budget_duration="365d")
    assert race((one, two), budget, 40) == {200: 20, 429: 20}
    requests = gateways.key(two, one, rpm_limit=20)
    assert race((one, two), requests, 40) == {200: 20, 429: 20}
    lasts, ends = gateways.key(one, two, duration="1h"), one.new_key(duration="1s")
    assert [each.ask(lasts).status_code for each in (one, two)] == [200, 200]
    for each in (one, two):
        assert eventually(lambda: each.ask(ends).status_code == 401)  # noqa: B023
    made_there = two.new_key(duration="1h")
    assert eventually(lambda: one.ask(made_there).status_code == 200)
    one.post("/key/delete", keys=[lasts])
    assert eventually(lambda: two.ask(lasts).status_code == 401)
    server.script = lambda line: line.answer(500)
    assert two.ask(MASTER).status_code >= 500
    server.script = well
    assert eventually(lambda: one.get("/health").json()["unhealthy_count"] == 1)


def test_what_was_spent_before_is_that_of_the_window_of_the_server(gateways: Gateways, redis_url: str) -> None:
    one, two = gateways.start(), gateways.skewed(YEAR)
    key = gateways.key(one, two, max_budget=20 * EACH, budget_duration="365d")
    assert race((one,), key, 10) == {200: 10}
    assert eventually(lambda: one.get("/spend/keys").json()[0]["calls"] == 10)
    with Redis.from_url(redis_url) as client:
        client.flushdb()
    assert race((two,), key, 30) == {200: 10, 429: 20}
