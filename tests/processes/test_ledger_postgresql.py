"""The ledger on a real PostgreSQL server."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.support import ledger_worker
from tests.support.ledger_worker import COHERE, DAY, FAILED, NEVER, NOON, answer, call, tried
from tests.support.postgres_server import PostgresServer

from anyrerank.errors import ConfigurationError
from anyrerank.ledger import Ledger, LedgerError, Store, postgresql


@pytest.fixture
def make(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    """Makes ledgers in a database that is empty at first."""
    made: list[Ledger] = []

    def new(url: str = database_url, **options: Any) -> Ledger:
        made.append(Ledger(url, **{"spool": tmp_path / "spool", "interval": NEVER, **options}))
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


@pytest.mark.parametrize("outage", ["killed", "paused"])
def test_calls_wait_while_the_server_is_away(
    outage: str,
    make: Callable[..., Ledger],
    new_postgres: Callable[[], PostgresServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgresql, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(postgresql, "CONNECT_SECONDS", 1)
    server = new_postgres()
    server.start()
    ledger = make(server.url)
    ledger(call("ann"))
    ledger.flush()
    (server.kill if outage == "killed" else server.pause)()
    ledger(call("bob"))
    with pytest.raises(LedgerError) as caught:
        ledger.flush()
    with pytest.raises(ConfigurationError, match=r"refused|timeout expired") as refused:
        make(server.url)
    (server.start if outage == "killed" else server.resume)()
    assert "pass-Word" not in f"{caught.value!r} {refused.value!r} {ledger!r}"
    assert users(ledger) == ["ann", "bob"]


def test_statement_that_hangs_fails_and_its_calls_are_there_once(
    make: Callable[..., Ledger], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = make()
    ledger(call("ann"))
    with psycopg.connect(database_url) as other, monkeypatch.context() as hasty:
        other.execute("LOCK TABLE anyrerank_calls")
        hasty.setattr(postgresql, "ANSWER_SECONDS", 0.2)
        with pytest.raises(LedgerError, match=r"the server did not answer within 0\.2 seconds"):
            ledger.flush()
    assert users(ledger) == ["ann"]


def test_parent_and_forked_child_record_each_call_once(
    make: Callable[..., Ledger], database_url: str, tmp_path: Path
) -> None:
    ledger = make()
    process = multiprocessing.get_context("forkserver").Process(
        target=ledger_worker.record_on_both_sides_of_a_fork, args=(database_url, str(tmp_path / "spool"))
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert users(ledger) == ["before", "child", "long before", "parent", "parent again"]


def test_wrong_password_is_not_shown(make: Callable[..., Ledger], database_url: str) -> None:
    url = sa.make_url(database_url).set(password="another-Word").render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError, match="password authentication failed") as caught:
        make(url)
    assert "another-Word" not in f"{caught.value!r}"


def test_database_that_is_no_ledger_or_of_another_version_is_refused(
    make: Callable[..., Ledger], database_url: str
) -> None:
    with pytest.raises(ConfigurationError, match="holds no ledger"):
        Store(database_url, create=False)
    make().close()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE anyrerank_ledger SET version = 99")
    with pytest.raises(ConfigurationError, match="is a ledger of version 99, expected 1: use another database"):
        make()


def test_default_spool_is_in_the_state_folder(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_STATE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    with Ledger(database_url, interval=NEVER) as ledger:
        ledger(call("ann"))
        (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
        assert "Word" not in str(file)
