"""When the database or the disk of the spool fails: no call waits, and none is lost."""

from __future__ import annotations

import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay
from tests.support.ledger_worker import (
    NEVER,
    abandoned,
    call,
    listening,
    locked,
    read,
    spooled,
    users,
    wait_for_threads,
)

from anyrerank.errors import ConfigurationError
from anyrerank.ledger import Ledger, LedgerError

if sys.platform != "win32":
    import resource

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not limit the size of files")
OK = [{"index": index, "relevance_score": 0.5} for index in range(3)]
ANSWER = {"response": {"status": 200, "json": {"results": OK}}}


def test_calls_wait_while_the_database_is_locked(db: Path, warnings: Callable[[], list[str]]) -> None:
    with Ledger(db, interval=NEVER, lock_timeout=0.01) as ledger:
        with locked(db):
            for name in ("ann", "bob"):
                ledger(call(name))
                with pytest.raises(LedgerError, match="locked"):
                    ledger.flush()
                with pytest.raises(LedgerError, match="locked"):
                    ledger.spend()
        assert [spend.calls for spend in ledger.spend(())] == [2]
    assert users(db) == ["ann", "bob"]
    assert spooled(db) == []
    assert warnings() == []


def test_ledger_closed_while_the_database_is_locked_leaves_its_spool(
    db: Path, warnings: Callable[[], list[str]]
) -> None:
    ledger = Ledger(db, interval=NEVER, lock_timeout=0)
    with locked(db):
        ledger(call("ann"))
        ledger.close()
        assert len(spooled(db)) == 1
        Ledger(db, interval=NEVER, lock_timeout=0).close()
    assert len(warnings()) == 2
    Ledger(db).close()
    assert users(db) == ["ann"]


def test_outage_is_logged_once_and_the_copy_repeated(db: Path, warnings: Callable[[], list[str]]) -> None:
    ledger = Ledger(db, interval=0.001, lock_timeout=0)
    with locked(db), logged() as heard:
        ledger(call("ann"))
        assert heard.wait(10)
        ledger(call("bob"))
        ledger.close()
        (warning,) = warnings()
        assert "locked" in warning
        assert str(spooled(db)[0].parent) in warning
    ledger(call("eve"))
    ledger.close()
    assert users(db) == ["ann", "bob", "eve"]
    assert spooled(db) == []


def test_thread_copies_what_waited_during_an_outage(db: Path) -> None:
    ledger = Ledger(db, interval=0.001, lock_timeout=0)
    with locked(db), logged() as heard:
        ledger(call("ann"))
        assert heard.wait(10)
    wait_for_threads()
    assert users(db) == ["ann"]


def test_new_ledger_copies_abandoned_calls_after_the_outage(db: Path) -> None:
    abandoned(db, call("ann"))
    with locked(db), logged() as heard:
        Ledger(db, interval=0.001, lock_timeout=0)
        assert heard.is_set()
    wait_for_threads()
    assert users(db) == ["ann"]


def test_unexpected_error_is_logged_without_its_text_and_the_copy_repeated(
    db: Path, warnings: Callable[[], list[str]]
) -> None:
    failures = [RuntimeError("pass-Word-1")] * 3

    def fail(*_: object) -> None:
        if failures:
            raise failures.pop()

    ledger = Ledger(db, interval=0.001)
    with listening("before_cursor_execute", fail):
        ledger(call("ann"))
        wait_for_threads()
    assert users(db) == ["ann"]
    (warning,) = warnings()
    assert "RuntimeError" in warning
    assert "pass-Word-1" not in warning


def test_failing_log_filter_does_not_stop_the_copy(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def refuse(record: logging.LogRecord) -> bool:
        asked.set()
        raise RuntimeError("a filter of the application")

    monkeypatch.setattr(logging.getLogger("anyrerank"), "filters", [refuse])
    ledger = Ledger(db, interval=0.001, lock_timeout=0)
    with locked(db):
        ledger(call("ann"))
        assert asked.wait(10)
    wait_for_threads()
    assert users(db) == ["ann"]


@pytest.mark.parametrize("statements", [["BEGIN EXCLUSIVE"], ["BEGIN", "SELECT * FROM sqlite_master"]])
def test_new_ledger_waits_for_a_file_that_is_in_use(
    db: Path, monkeypatch: pytest.MonkeyPatch, statements: list[str]
) -> None:
    """SQLite itself does not wait while another process reads a file that is to become a WAL database."""
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        for statement in statements:
            other.execute(statement)
        waits: list[float] = []

        def release(seconds: float) -> None:
            waits.append(seconds)
            other.execute("ROLLBACK")

        monkeypatch.setattr(time, "sleep", release)
        with Ledger(db, interval=NEVER) as ledger:
            ledger(call("ann"))
    assert len(waits) == 1
    assert users(db) == ["ann"]


def test_new_ledger_gives_up_after_the_lock_timeout(db: Path) -> None:
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigurationError, match="locked"):
            Ledger(db, lock_timeout=0)


def test_size_of_what_waits_falls_to_zero_once_the_database_has_it(db: Path) -> None:
    with Ledger(db, interval=NEVER, lock_timeout=0.01) as ledger:
        with locked(db):
            ledger(call("ann"))
            one = ledger.waiting_bytes
            with pytest.raises(LedgerError, match="locked"):
                ledger.flush()
            ledger(call("bob"))
            both = ledger.waiting_bytes
        ledger.flush()
        assert (one > 0, both, ledger.waiting_bytes, ledger.lost_calls) == (True, 2 * one, 0, 0)


@POSIX
@pytest.mark.slow
def test_calls_that_the_full_disk_never_took_are_counted(db: Path) -> None:
    event = call("ann")
    with Ledger(db, interval=NEVER) as ledger:
        with limited_files(0):
            for _ in range(50_002):
                with suppress(OSError):
                    ledger(event)
            before = ledger.waiting_bytes
        assert ledger.lost_calls == 2
        assert [spend.calls for spend in ledger.spend(())] == [50_000]
        assert (before > 0, ledger.waiting_bytes) == (True, 0)


@POSIX
@pytest.mark.parametrize("room", [0, 40], ids=["no byte", "a part of the line"])
def test_full_disk_raises_and_no_call_is_lost(db: Path, room: int) -> None:
    with Ledger(db, interval=NEVER) as ledger:
        ledger(call("ann"))
        (file,) = spooled(db)
        with limited_files(file.stat().st_size + room), pytest.raises(OSError, match=r"File too large|No space left"):
            ledger(call("bob"))
        ledger(call("eve"))
    assert users(db) == ["ann", "bob", "eve"]
    assert spooled(db) == []


@POSIX
def test_full_disk_breaks_no_call_of_a_reranker(db: Path, mode: Mode, warnings: Callable[[], list[str]]) -> None:
    with Ledger(db, interval=NEVER) as ledger:
        reranker = mode.reranker(http_client=Replay([ANSWER]).client(mode), hooks=[ledger])
        with limited_files(0):
            assert len(mode.rerank(reranker, QUERY, DOCUMENTS).results) == 3
    assert len(read(db)) == 1
    assert spooled(db) == []
    (warning,) = warnings()
    assert "Ledger" in warning


@contextmanager
def logged() -> Iterator[threading.Event]:
    """Set when something is logged."""
    heard = threading.Event()

    def hear(record: logging.LogRecord) -> bool:
        heard.set()
        return True

    logger = logging.getLogger("anyrerank")
    logger.addFilter(hear)
    yield heard
    logger.removeFilter(hear)


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes, as on a full disk."""
    limits: Any = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
