"""Replicas whose PostgreSQL server has no room for further rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from tests.support.gateways import Gateways, Replica, race
from tests.support.keys import EACH
from tests.support.loopback import Loopback
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]

_FULL = 16 * 2**20


def test_calls_wait_for_room_and_none_is_lost(
    tmp_path: Path, server: Loopback, redis_url: str, new_postgres: Callable[[], PostgresServer]
) -> None:
    database = new_postgres()
    database.start(autovacuum="off")
    with closing(Gateways(tmp_path, server.url, redis_url, database.url, seconds=5.0)) as gateways:
        one, two = gateways.pair()
        key = gateways.key(one, two, max_budget=1.0, rpm_limit=10_000)
        assert race((one, two), key, 10) == {200: 10}
        assert eventually(lambda: one.recorded_calls(key) == 10)
        fill(database.url)
        restart(database, largest_file=_FULL)
        assert race((one, two), key, 200) == {200: 200}
        assert eventually(lambda: all(waits(each) for each in (one, two)))
        refused = one.post("/key/generate")
        assert (refused.status_code, "could not extend file" in refused.text) == (503, True)
        assert one.get("/health/readiness").status_code == 200
        restart(database, largest_file=None)
        assert eventually(lambda: one.recorded_calls(key) == two.recorded_calls(key) == 210, within=30)
        assert one.spend(key) == two.spend(key) == round(210 * EACH, 9)
        assert one.post("/key/generate").status_code == 200


def restart(database: PostgresServer, largest_file: int | None) -> None:
    database.stop()
    database.largest_file = largest_file
    database.start(autovacuum="off")


def fill(url: str) -> None:
    """Let the files of the tables that gateways write be as large as they may be; a row nearly fills a page."""
    pages = _FULL // 8192
    rows = {
        "anyrerank_calls": "call, part, time, day, model, deployment, provider, requests, failures, documents, "
        "estimated, seconds, cached) SELECT n, 0, 0, '', '', repeat('x', 8060), '', 0, 0, 0, false, 0, 0",
        "anyrerank_keys": "token, key_name, models, blocked, metadata, created_at, updated_at) "
        "SELECT n, repeat('x', 8060), '[]', true, '{}', 0, 0",
    }
    with psycopg.connect(url, autocommit=True) as connection:
        for table, column in (("anyrerank_calls", "deployment"), ("anyrerank_keys", "key_name")):
            connection.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE PLAIN".encode())
            connection.execute(f"INSERT INTO {table} ({rows[table]} FROM generate_series(1, {pages}) n".encode())


def waits(gateway: Replica) -> bool:
    """Whether calls wait for the database of a replica."""
    return "anyrerank_ledger_queue_bytes 0.0\n" not in gateway.get("/metrics").text
