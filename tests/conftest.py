"""Fixtures of all tests: a clean environment, no network, sync and async, local servers, waits that take no time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import is_hypothesis_test

from anyrerank.testing import forbid_network
from tests.support.clock import replace_waits
from tests.support.harness import Mode, credentials
from tests.support.loopback import Loopback, Script, well

if TYPE_CHECKING:
    from tests.support.postgres_server import PostgresServer
    from tests.support.redis_server import RedisServer

PROCESSES = Path(__file__).with_name("processes")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_GATEWAY = ("DATABASE_URL", "LITELLM_MASTER_KEY", "REDIS_HOST", "REDIS_URL")
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when it is imported
_VARIABLES = frozenset({*credentials(), *_GATEWAY, *_PROXIES, *map(str.upper, _PROXIES)})


@pytest.fixture(scope="session")
def _state(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, _state: str) -> None:
    for name in _VARIABLES & os.environ.keys():
        monkeypatch.delenv(name)
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):  # where a gateway and a ledger keep data by default
        monkeypatch.setenv(name, _state)


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    with forbid_network(allow_loopback=True):
        yield


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Iterator[Mode]:
    """Sync and async in turn."""
    made = Mode(asynchronous=request.param == "async")
    yield made
    made.finish()


@pytest.fixture
def sync_mode() -> Iterator[Mode]:
    """Sync only, for code that both modes share."""
    made = Mode(asynchronous=False)
    yield made
    made.finish()


@pytest.fixture(params=["sync", "async", "sync-own-client", "async-own-client"])
def way(request: pytest.FixtureRequest) -> Iterator[Mode]:
    """Sync and async in turn, each with the default client and with a client of the user's."""
    made = Mode(asynchronous=request.param.startswith("async"), own=request.param.endswith("own-client"))
    yield made
    made.finish()


@pytest.fixture
def serve() -> Iterator[Callable[..., Loopback]]:
    """Starts servers on this machine."""
    started: list[Loopback] = []

    def start(script: Script = well, port: int = 0) -> Loopback:
        started.append(Loopback(script, port))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def server(serve: Callable[..., Loopback]) -> Loopback:
    """A server on this machine that ranks until its `script` is replaced."""
    return serve()


@pytest.fixture(scope="session")
def _redis() -> Iterator[str]:
    from tests.support import redis_server
    from tests.support.server_process import new_server

    if (given := redis_server.given_url()) is not None:
        yield given
        return
    with new_server(redis_server.RedisServer) as server:
        server.start()
        yield server.url


@pytest.fixture
def redis_url(_redis: str) -> str:
    """An empty database of a Redis server, as `redis://host:port/number`."""
    from redis import Redis

    with Redis.from_url(_redis) as client:
        client.flushdb()
    return _redis


@pytest.fixture(scope="session")
def _postgres() -> Iterator[str]:
    from tests.support import postgres_server
    from tests.support.server_process import new_server

    if (given := postgres_server.given_url()) is not None:
        yield given
        return
    with new_server(postgres_server.PostgresServer) as server:
        server.start()
        yield server.url


@pytest.fixture
def database_url(_postgres: str) -> Iterator[str]:
    """A new database of a PostgreSQL server, as `postgresql://user:password@host:port/name`."""
    from tests.support.postgres_server import new_database

    with new_database(_postgres) as url:
        yield url


@pytest.fixture
def new_redis() -> Iterator[Callable[..., RedisServer]]:
    """Makes Redis servers that only this test uses, which it may pause and kill; `start` starts one."""
    from tests.support.redis_server import RedisServer
    from tests.support.server_process import new_server

    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(new_server(partial(RedisServer, **options)))


@pytest.fixture
def new_postgres() -> Iterator[Callable[[], PostgresServer]]:
    """Makes PostgreSQL servers that only this test uses, which it may pause and kill; `start` starts one."""
    from tests.support.postgres_server import PostgresServer
    from tests.support.server_process import new_server

    with ExitStack() as servers:
        yield lambda: servers.enter_context(new_server(PostgresServer))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait between tries; no wait takes any time."""
    taken: list[float] = []
    replace_waits(monkeypatch, taken.append)
    return taken


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the markers that follow from the test itself, before `-m` selects by them."""
    for item in items:
        if item.path.is_relative_to(PROCESSES):
            item.add_marker(pytest.mark.process)
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.property)
