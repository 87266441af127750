"""A gateway whose PostgreSQL server goes away: known keys go on, readiness says so, and no call is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.gateway import MASTER_KEY
from tests.support.keys import Running, keyring_of, paid, serving
from tests.support.postgres_server import PASSWORD, PostgresServer

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.keys import DatabaseError, Keyring, keyring, opened
from anyrerank.gateway.settings import settings_of
from anyrerank.ledger import postgresql
from anyrerank.testing import StubServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

SECONDS = 30.0
"""For how long a test waits for what must come."""
OUTAGES: dict[str, tuple[Callable[[PostgresServer], None], Callable[[PostgresServer], None]]] = {
    "killed": (PostgresServer.kill, PostgresServer.start),
    "stopped": (PostgresServer.stop, PostgresServer.start),
    "paused": (PostgresServer.pause, PostgresServer.resume),
}


@pytest.fixture
def server(new_postgres: Callable[[], PostgresServer]) -> PostgresServer:
    """A running server of the test's own."""
    made = new_postgres()
    made.start()
    return made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer fails soon."""
    monkeypatch.setattr(postgresql, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(postgresql, "CONNECT_SECONDS", 1)


class Load:
    """End users who call a gateway, one call each, until they are told to stop."""

    def __init__(self, gateway: Running, key: str) -> None:
        self.answered: list[str] = []
        self.refused: list[int] = []
        self._gateway, self._key = gateway, key
        self._over = threading.Event()
        self._more = threading.Condition()

    def wait_for(self, calls: int) -> None:
        """Wait until this number of further calls was answered."""
        with self._more:
            enough = len(self.answered) + calls
            assert self._more.wait_for(lambda: len(self.answered) >= enough, SECONDS)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._call, args=(name,)) for name in ("a", "b")]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self._over.set()
            for each in threads:
                each.join()

    def _call(self, name: str) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            status = self._gateway.rerank(self._key, user=f"{name}-{number}").status_code
            with self._more:
                if status == 200:
                    self.answered.append(f"{name}-{number}")
                else:
                    self.refused.append(status)
                self._more.notify_all()


def wait_for_readiness(gateway: Running, status: int) -> dict[str, Any]:
    """The answer about readiness, once it has this status."""
    deadline = time.monotonic() + SECONDS
    while (answer := gateway.get("/health/readiness")).status_code != status:
        assert time.monotonic() < deadline, answer.text
    found: dict[str, Any] = answer.json()
    return found


def closes(keys: Keyring) -> bool:
    """Whether the keys can be closed within the time of a test."""
    thread = threading.Thread(target=keys.close)
    thread.start()
    thread.join(SECONDS)
    return not thread.is_alive()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("outage", OUTAGES)
def test_outage_in_the_middle_of_load_costs_no_call(
    outage: str, server: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    end, begin = OUTAGES[outage]
    with StubServer() as vendor, serving(tmp_path, [paid(vendor.url)], url=server.url, interval=0.01) as gateway:
        gateway.keyring.start()
        load = Load(gateway, gateway.new_key())
        with load.running():
            load.wait_for(20)
            end(server)
            load.wait_for(20)
            reasons = wait_for_readiness(gateway, 503)["reasons"]
            refused = gateway.post("/key/generate")
            load.wait_for(20)
            begin(server)
            wait_for_readiness(gateway, 200)
            load.wait_for(20)
        assert reasons == {"database": "the database of the keys does not answer"}
        assert sum("answers again" in each.message for each in caplog.records) == 1
        assert (refused.status_code, PASSWORD in refused.text, "pass-Word" in refused.text) == (503, False, False)
        assert load.refused == []
        spent = gateway.keyring.ledger.spend("user")
        assert sorted((str(each.group["user"]), each.calls) for each in spent) == sorted(
            (user, 1) for user in load.answered
        )
        assert gateway.rerank(gateway.new_key()).status_code == 200


def test_calls_wait_while_the_database_can_only_be_read(server: PostgresServer, tmp_path: Path) -> None:
    with StubServer() as vendor, serving(tmp_path, [paid(vendor.url)], url=server.url) as gateway:
        key = gateway.new_key()
        server.stop()
        server.start(default_transaction_read_only="on")
        assert gateway.rerank(key, user="ann").status_code == 200
        gateway.keyring.refresh()
        answers = gateway.post("/key/generate"), gateway.get("/spend/users")
        assert [(each.status_code, "read-only transaction" in each.text) for each in answers] == [(503, True)] * 2
        server.stop()
        server.start()
        assert [row["user"] for row in gateway.get("/spend/users").json()] == ["ann"]


def test_statement_that_hangs_is_an_outage_long_before_it_fails(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "_SILENT_SECONDS", 1.0)
    with serving(tmp_path, url=server.url) as gateway:
        gateway.keyring.start()
        key = gateway.new_key()
        server.pause()
        wait_for_readiness(gateway, 503)
        assert "anyrerank_database_up 0.0" in gateway.get("/metrics").text
        assert gateway.rerank(key).status_code == 200
        server.resume()
        wait_for_readiness(gateway, 200)
        assert "anyrerank_database_up 1.0" in gateway.get("/metrics").text


@pytest.mark.usefixtures("hasty")
def test_gateway_ends_while_its_database_hangs_and_the_next_one_has_its_calls(
    server: PostgresServer, tmp_path: Path
) -> None:
    with StubServer() as vendor:
        with serving(tmp_path, [paid(vendor.url)], url=server.url, interval=0.01) as gateway:
            gateway.keyring.start()
            key = gateway.new_key()
            server.pause()
            wait_for_readiness(gateway, 503)  # a statement hangs
            assert [gateway.rerank(key, user=name).status_code for name in ("ann", "bob")] == [200, 200]
            ended = closes(gateway.keyring)
            server.resume()
        assert ended
        with closing(keyring_of(tmp_path, url=server.url)) as after:
            assert sorted(str(each.group["user"]) for each in after.ledger.spend("user")) == ["ann", "bob"]


def test_gateway_does_not_wait_for_keys_when_it_ends(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "_SILENT_SECONDS", 1.0)
    monkeypatch.setattr(postgresql, "ANSWER_SECONDS", 1e6)
    with serving(tmp_path, url=server.url) as gateway:
        gateway.keyring.start()
        server.pause()
        wait_for_readiness(gateway, 503)
        ended = closes(gateway.keyring)
        server.resume()
    assert ended
    assert gateway.keyring._thread is not None
    gateway.keyring._thread.join(SECONDS)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("outage", OUTAGES)
def test_gateway_does_not_start_without_its_database(outage: str, server: PostgresServer) -> None:
    OUTAGES[outage][0](server)
    settings = settings_of({"master_key": MASTER_KEY, "database_url": server.url}, "test")
    with pytest.raises(
        ConfigurationError, match=r"cannot be used: .*; the gateway needs it for keys and spend"
    ) as caught:
        opened(settings)
    assert "pass-Word" not in str(caught.value)


@pytest.mark.parametrize("place", ["before the host", "option"])
def test_wrong_password_is_not_shown(place: str, database_url: str, tmp_path: Path) -> None:
    url = sa.make_url(database_url).set(password="another-Word")
    if place == "option":
        url = url.set(password=None).update_query_dict({"password": "another-Word"})
    with pytest.raises(DatabaseError, match="password authentication failed") as caught:
        keyring_of(tmp_path, url=url.render_as_string(hide_password=False))
    assert "another-Word" not in f"{caught.value!r}"
