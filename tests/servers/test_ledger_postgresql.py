"""The ledger on a real PostgreSQL, which is started in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from anyrerank.errors import ConfigurationError
from anyrerank.ledger import Ledger, LedgerError
from tests.servers.processes import free_port
from tests.support.ledger_worker import COHERE, NOON, answer, call, tried

pytest.importorskip("psycopg")

NEVER = 1e6
PASSWORD = "pass-Word-1%/@"
INITDB = shutil.which("initdb")
NOBODY = 65_534
"""PostgreSQL refuses to run as root."""


class Server:
    """A PostgreSQL that can be started and stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._user = NOBODY if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(folder, NOBODY, NOBODY)
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        self._run("initdb", "--auth=scram-sha-256", "--username=ledger", f"--pwfile={folder / 'password'}")

    def url(self, password: str = PASSWORD) -> str:
        url = sa.URL.create("postgresql+psycopg", "ledger", password, "127.0.0.1", self._port, "postgres")
        return url.render_as_string(hide_password=False)

    def start(self) -> None:
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "--wait", "start", "-l", str(self._folder / "log"), "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        path = Path(str(INITDB)).resolve().with_name(program)
        command = [str(path), "-D", str(self._folder / "data"), *arguments]
        subprocess.run(  # noqa: S603
            command, check=True, cwd=self._folder, user=self._user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if INITDB is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))  # a user who is nobody cannot enter the folders of the tests
    try:
        made = Server(folder)
        made.start()
        yield made
        made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ledger(server: Server, tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    """Makes ledgers on the database, which is empty at first."""
    engine = sa.create_engine(server.url())
    with engine.begin() as connection:
        for table in ("anyrerank_calls", "anyrerank_tags", "anyrerank_ledger"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    engine.dispose()
    made: list[Ledger] = []

    def make(**options: Any) -> Ledger:
        made.append(Ledger(server.url(), **{"journal": tmp_path / "journal", "interval": NEVER, **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_spending_is_kept_and_found(ledger: Callable[..., Ledger]) -> None:
    kept = ledger()
    kept(call("ann", [tried(cost=None)], metadata={"tags": ["rag", "beta"]}))
    kept(call("ann", [tried(status=429, error="RateLimitError", cost=None), tried("voyage/rerank-2", cost=0.5)]))
    kept(call("a\0b\ud800", [], response=answer(cached=2, saved=0.25), started=NOON + 86_400))
    found = {tuple(spend.group.values()): spend for spend in kept.spend(("user", "deployment", "tag"))}
    assert set(found) == {
        ("ann", COHERE, "rag"),
        ("ann", COHERE, "beta"),
        ("ann", COHERE, None),
        ("ann", "voyage/rerank-2", None),
        ("a\ufffdb?", COHERE, None),
    }
    assert (found["ann", COHERE, "rag"].cost, found["ann", COHERE, "rag"].unknown) == (None, 1)
    assert (found["ann", "voyage/rerank-2", None].cost, found["ann", "voyage/rerank-2", None].documents) == (0.5, 2)
    assert found["a\ufffdb?", COHERE, None].saved == 0.25
    assert kept.total() == 0.5
    assert [spend.calls for spend in kept.spend("day", until=date(2026, 11, 1))] == [2]
    assert [spend.calls for spend in kept.spend((), tag="rag")] == [1]


def test_many_rows_are_there_once(ledger: Callable[..., Ledger], tmp_path: Path) -> None:
    kept = ledger()
    for place in range(2_345):
        kept(call(f"u-{place}", metadata={"tags": ["a"]}))
    (segment,) = (tmp_path / "journal").iterdir()
    content = segment.read_bytes()
    kept.flush()
    segment.write_bytes(content)
    (found,) = ledger().spend("tag")
    assert (found.calls, found.requests) == (2_345, 2_345)
    assert list((tmp_path / "journal").iterdir()) == []


def test_ledgers_may_all_be_made_at_once(ledger: Callable[..., Ledger]) -> None:
    failures: list[Exception] = []
    together = threading.Barrier(6)

    def make(name: int) -> None:
        together.wait()
        try:
            with ledger() as mine:
                mine(call(f"u-{name}"))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=make, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(ledger().spend("user")) == 6


def test_rows_wait_while_the_server_is_down(ledger: Callable[..., Ledger], server: Server) -> None:
    kept = ledger()
    kept(call("ann"))
    kept.flush()
    server.stop()
    try:
        kept(call("bob"))
        with pytest.raises(LedgerError) as caught:
            kept.flush()
        with pytest.raises(ConfigurationError, match="refused") as refused:
            ledger()
    finally:
        server.start()
    assert "pass-Word" not in f"{caught.value!r} {refused.value!r} {kept!r}"
    assert sorted(str(spend.group["user"]) for spend in kept.spend("user")) == ["ann", "bob"]


def test_a_wrong_password_is_not_shown(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="password authentication failed") as caught:
        Ledger(server.url("another-Word"), journal=tmp_path)
    assert "another-Word" not in f"{caught.value!r}"


def test_the_journal_of_a_server_is_in_the_state_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_STATE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    with Ledger(server.url(), interval=NEVER) as kept:
        kept(call("ann"))
        (segment,) = tmp_path.rglob("*.jsonl")
        assert "Word" not in str(segment)
