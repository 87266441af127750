"""Fixtures of every test: a clean environment, sync and async, servers on this machine, and waits that take no time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test

from anyrerank.testing import forbid_network
from tests.support.clock import replace_waits
from tests.support.harness import Mode, credentials
from tests.support.loopback import Loopback, Script, well

PROCESSES = Path(__file__).with_name("processes")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_VARIABLES = frozenset({*credentials(), *_PROXIES, *map(str.upper, _PROXIES)})


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _VARIABLES & os.environ.keys():
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    with forbid_network(allow_loopback=True):
        yield


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Iterator[Mode]:
    """Each mode in turn."""
    made = Mode(asynchronous=request.param == "async")
    yield made
    made.finish()


@pytest.fixture
def sync_mode() -> Iterator[Mode]:
    """The synchronous mode, for what both share by construction."""
    made = Mode(asynchronous=False)
    yield made
    made.finish()


@pytest.fixture(params=["sync", "async", "sync-own-client", "async-own-client"])
def way(request: pytest.FixtureRequest) -> Iterator[Mode]:
    """Each mode in turn, with the default client and with a caller's own."""
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
    """A server on this machine that ranks well until its `script` is changed."""
    return serve()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of every wait between tries, none of which takes any time."""
    taken: list[float] = []
    replace_waits(monkeypatch, taken.append)
    return taken


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what can be told without a decorator, before `-m` selects by it."""
    for item in items:
        if PROCESSES in item.path.parents:
            item.add_marker(pytest.mark.process)
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.property)
