"""Closing, dropping, copying and sharing a ledger."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.ledger_worker import NEVER, call, listening, spooled, users, wait_for_threads

from anyrerank.ledger import Ledger


def test_closed_ledger_opens_again(db: Path) -> None:
    ledger = Ledger(db, interval=NEVER)
    for name in ("ann", "bob"):
        ledger(call(name))
        ledger.close()
    assert users(db) == ["ann", "bob"]


def test_dropped_ledger_loses_no_call(db: Path) -> None:
    ledger = Ledger(db, interval=0.001)
    ledger(call("ann"))
    del ledger
    gc.collect()
    wait_for_threads()
    assert users(db) == ["ann"]


def test_idle_ledger_has_no_thread(db: Path) -> None:
    with Ledger(db, interval=0.001) as ledger:
        ledger(call("ann"))
        wait_for_threads()
        assert "anyrerank-ledger" not in {thread.name for thread in threading.enumerate()}


def test_threads_share_a_ledger(db: Path) -> None:
    with Ledger(db, interval=0.001) as ledger, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ledger(call(str(number))), range(1_600)))
    assert users(db) == sorted(map(str, range(1_600)))


def test_threads_may_close_a_ledger_that_others_use(db: Path) -> None:
    ledger = Ledger(db, interval=0.001)

    def use(name: int) -> None:
        for number in range(100):
            ledger(call(f"{name}-{number}"))
            if number % 20 == name:
                ledger.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    ledger.close()
    assert users(db) == sorted(f"{name}-{number}" for name in range(4) for number in range(100))
    assert spooled(db) == []


@pytest.mark.parametrize("close", [False, True])
def test_call_during_a_copy_is_copied_without_another_call(db: Path, close: bool) -> None:
    ledger = Ledger(db, interval=0.001)
    late = [call("late")]

    def record_late(_: object) -> None:
        while late:
            ledger(late.pop())

    with listening("commit", record_late):
        ledger(call("ann"))
        if close:
            ledger.close()
        wait_for_threads()
    assert users(db) == ["ann", "late"]
    assert spooled(db) == []


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])  # noqa: S301
def test_copy_writes_to_the_same_database(db: Path, copied: Callable[[Ledger], Ledger]) -> None:
    ledger = Ledger(db, interval=0.001)
    for each in (ledger, copied(ledger)):
        each(call("ann"))
    wait_for_threads()
    assert users(db) == ["ann", "ann"]


def test_copy_has_the_same_spool(db: Path) -> None:
    elsewhere = db.parent / "elsewhere"
    with copy.deepcopy(Ledger(db, spool=elsewhere, interval=NEVER)) as ledger:
        ledger(call("ann"))
        assert len(list(elsewhere.iterdir())) == 1


def test_relative_path_stays_the_same_when_the_folder_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    ledger = Ledger("spend.db", spool="spool")
    monkeypatch.chdir(tmp_path)
    ledger(call("ann"))
    with pickle.loads(pickle.dumps(ledger)) as again:  # noqa: S301
        again(call("bob"))
    ledger.close()
    assert users(tmp_path / "a" / "spend.db") == ["ann", "bob"]
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_repr_shows_the_database(db: Path) -> None:
    with Ledger(db) as ledger:
        assert repr(ledger) == f"Ledger({str(db)!r})"
