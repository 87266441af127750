"""The ledger on a real PostgreSQL server, which the tests start and stop."""

from __future__ import annotations

import multiprocessing
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
from tests.support import ledger_worker
from tests.support.ledger_worker import COHERE, DAY, FAILED, NEVER, NOON, answer, call, tried

pytest.importorskip("psycopg")

PASSWORD = "pass-Word-1%/@"
INITDB = shutil.which("initdb")
NOBODY = 65_534
"""PostgreSQL refuses to run as root."""


class Server:
    """A PostgreSQL server."""

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
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))  # the tests' own folders are closed to `nobody`
    try:
        made = Server(folder)
        made.start()
        yield made
        made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make(server: Server, tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    """Makes ledgers in a database that is empty at first."""
    engine = sa.create_engine(server.url())
    with engine.begin() as connection:
        for table in ("anyrerank_calls", "anyrerank_tags", "anyrerank_ledger"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    engine.dispose()
    made: list[Ledger] = []

    def new(**options: Any) -> Ledger:
        made.append(Ledger(server.url(), **{"spool": tmp_path / "spool", "interval": NEVER, **options}))
        return made[-1]

    yield new
    for each in made:
        each.close()


def users(ledger: Ledger) -> list[str]:
    return sorted(str(spend.group["user"]) for spend in ledger.spend("user"))


def test_spending_is_grouped_filtered_and_summed(make: Callable[..., Ledger]) -> None:
    ledger = make()
    ledger(call("ann", [tried(cost=None)], metadata={"tags": ["rag", "beta"]}))
    ledger(call("ann", [tried(**FAILED), tried("voyage/rerank-2", cost=0.5)]))
    ledger(call("a\0b\ud800", [], response=answer(cached=2, saved=0.25), started=NOON + DAY))
    found = {tuple(spend.group.values()): spend for spend in ledger.spend(("user", "deployment", "tag"))}
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
    assert ledger.total() == 0.5
    assert [spend.calls for spend in ledger.spend("day", until=date(2026, 11, 1))] == [2]
    assert [spend.calls for spend in ledger.spend((), tag="rag")] == [1]


def test_calls_that_are_copied_twice_are_there_once(make: Callable[..., Ledger], tmp_path: Path) -> None:
    ledger = make()
    for number in range(2_345):
        ledger(call(f"u-{number}", metadata={"tags": ["a"]}))
    (file,) = (tmp_path / "spool").iterdir()
    content = file.read_bytes()
    ledger.flush()
    file.write_bytes(content)
    (found,) = make().spend("tag")
    assert (found.calls, found.requests) == (2_345, 2_345)
    assert list((tmp_path / "spool").iterdir()) == []


def test_refused_call_is_skipped_and_logged_without_stopping_others(
    make: Callable[..., Ledger], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = make()
    for name, cached in (("ann", 0), ("bad", 2**31), ("worse", 2**63), ("bob", 0)):
        ledger(call(name, response=answer([tried()], cached=cached, saved=0.0)))
    assert users(ledger) == ["ann", "bob"]
    warnings = [record.getMessage() for record in caplog.records if record.name == "anyrerank"]
    assert len(warnings) == 2
    assert all("refused" in warning for warning in warnings)


def test_ledgers_made_at_the_same_time_share_the_tables(make: Callable[..., Ledger]) -> None:
    failures: list[Exception] = []
    barrier = threading.Barrier(6)

    def record(name: int) -> None:
        barrier.wait()
        try:
            with make() as ledger:
                ledger(call(f"u-{name}"))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=record, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(make().spend("user")) == 6


def test_calls_wait_while_the_server_is_down(make: Callable[..., Ledger], server: Server) -> None:
    ledger = make()
    ledger(call("ann"))
    ledger.flush()
    server.stop()
    try:
        ledger(call("bob"))
        with pytest.raises(LedgerError) as caught:
            ledger.flush()
        with pytest.raises(ConfigurationError, match="refused") as refused:
            make()
    finally:
        server.start()
    assert "pass-Word" not in f"{caught.value!r} {refused.value!r} {ledger!r}"
    assert users(ledger) == ["ann", "bob"]


def test_parent_and_forked_child_record_each_call_once(
    make: Callable[..., Ledger], server: Server, tmp_path: Path
) -> None:
    ledger = make()
    process = multiprocessing.get_context("forkserver").Process(
        target=ledger_worker.record_on_both_sides_of_a_fork, args=(server.url(), str(tmp_path / "spool"))
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert users(ledger) == ["before", "child", "long before", "parent", "parent again"]


def test_wrong_password_is_not_shown(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="password authentication failed") as caught:
        Ledger(server.url("another-Word"), spool=tmp_path)
    assert "another-Word" not in f"{caught.value!r}"


def test_default_spool_is_in_the_state_folder(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_STATE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    with Ledger(server.url(), interval=NEVER) as ledger:
        ledger(call("ann"))
        (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
        assert "Word" not in str(file)
