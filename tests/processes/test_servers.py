"""The servers of the tests: each test has its own data, and a server can be paused, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.support import postgres_server, redis_server
from tests.support.gateway_process import ROOT
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess

FIXTURES = "from tests.conftest import _postgres, _redis, database_url, new_postgres, redis_url\n"
HANGING = """
import os, psycopg
from redis import Redis

def test_servers(new_postgres, redis_url, database_url):
    paused = new_postgres()
    paused.start()
    with psycopg.connect(paused.url) as connection, Redis.from_url(redis_url) as client:
        paused.pause()
        pids = paused._process.pid, connection.info.backend_pid, client.info("server")["process_id"]
        print("\\nstarted", paused.folder, *pids, flush=True)
        os.read(0, 1)
"""


@pytest.mark.parametrize("_", range(2))
def test_each_test_has_an_empty_redis(redis_url: str, _: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("key", "value")


@pytest.mark.parametrize("_", range(2))
def test_each_test_has_an_empty_database(database_url: str, _: int) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE made_by_a_test (number int)")


def asked(server: ServerProcess) -> object:
    """What a server answers within a second."""
    if isinstance(server, RedisServer):
        with redis.Redis.from_url(server.url, socket_timeout=1.0, retry=ONCE) as client:
            return client.ping()
    with psycopg.connect(server.url, connect_timeout=2, options="-c statement_timeout=1000") as connection:
        return connection.execute("SELECT true").fetchone() == (True,)


ONCE = Retry(NoBackoff(), 0)
FAILURES = (redis.ConnectionError, redis.TimeoutError, psycopg.OperationalError)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["new_redis", "new_postgres"])
def test_server_is_paused_killed_and_started_again(kind: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(kind)()
    server.start()
    url = server.url
    server.pause()
    with pytest.raises(FAILURES):
        asked(server)
    server.resume()
    assert asked(server)
    for end in (server.kill, server.stop, server.stop):
        end()
        with pytest.raises(FAILURES, match="refused"):
            asked(server)
        if end is server.kill:
            server.start()
    assert server.url == url


@pytest.mark.slow
def test_killed_postgresql_keeps_what_was_committed(new_postgres: Callable[[], PostgresServer]) -> None:
    server = new_postgres()
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 1 AS number")
        server.kill()
    server.start(default_transaction_read_only="on")
    with psycopg.connect(server.url, autocommit=True) as connection:
        assert connection.execute("SELECT number FROM numbers").fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM numbers")


def test_redis_has_the_settings_of_a_test(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis(password="a/b@c")
    server.start(maxmemory_policy="allkeys-lru", replicaof="127.0.0.1 1")
    with redis.Redis.from_url(server.url, retry=ONCE) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
        with pytest.raises(redis.ReadOnlyError):
            client.set("key", "value")
    with redis.Redis(port=server.port, retry=ONCE) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_test_run_leaves_no_server(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "conftest.py").write_text(FIXTURES)
    (tmp_path / "test_it.py").write_text(HANGING)
    options = ["-s", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "integrations")])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as run:  # noqa: S603
        assert run.stdout is not None
        line = next(line for line in run.stdout if line.startswith("started "))
        _, folder, *pids = line.split()
        servers = [psutil.Process(int(pid)) for pid in pids]
        assert all(server.is_running() for server in servers)
        run.send_signal(number)
        run.communicate()
    while Path(folder).exists():
        pass  # until the reaper has removed it, after it has killed the server
    psutil.wait_procs(servers, timeout=10)  # a killed process needs a moment to end
    assert [each for each in servers if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize("kind", ["new_redis", "new_postgres"])
@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_missing_server_is_a_failure_only_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(redis_server, "_PROGRAM", None)
    monkeypatch.setattr(postgres_server, "_programs", lambda: None)
    make = RedisServer if kind == "new_redis" else PostgresServer
    with pytest.raises(outcome, match="is not installed: install "):
        make(tmp_path)


def test_given_server_stands_in_for_one_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYRERANK_TEST_REDIS_URL", "redis://:secret@host:1/0")
    monkeypatch.setenv("ANYRERANK_TEST_DATABASE_URL", "postgresql://host/name")
    assert (redis_server.given_url(), postgres_server.given_url()) == (None, None)
    monkeypatch.setattr(redis_server, "_PROGRAM", None)
    monkeypatch.setattr(postgres_server, "_programs", lambda: None)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw3")
    assert (redis_server.given_url(), postgres_server.given_url()) == (
        "redis://:secret@host:1/3",
        "postgresql://host/name",
    )
