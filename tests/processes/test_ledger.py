"""Several processes with one ledger: at the same time, one after the other, forked, ended and killed."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support import ledger_worker
from tests.support.ledger_worker import spooled, users
from tests.support.processes import needs_fork

from anyrerank.ledger import Ledger


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


@pytest.fixture(scope="module")
def processes() -> Any:
    """Starts processes, quickly where that is possible."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([ledger_worker.__name__])
    return context


def exit_code(processes: Any, work: Callable[..., None], *arguments: object) -> int | None:
    """The exit code of a process that does `work`."""
    process = processes.Process(target=work, args=arguments)
    process.start()
    process.join(60)
    code: int | None = process.exitcode
    return code


def test_processes_that_start_together_share_a_new_database(db: Path, processes: Any) -> None:
    barrier = processes.Barrier(4)
    started = [
        processes.Process(target=ledger_worker.record, args=(str(db), f"p{name}", 200, barrier)) for name in range(4)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * 4
    assert users(db) == sorted(f"p{name}-{index}" for name in range(4) for index in range(200))
    assert spooled(db) == []


@pytest.mark.slow
def test_killed_process_loses_no_acknowledged_call(db: Path, processes: Any) -> None:
    rng = random.Random(20_261_101)
    for kill in range(50):
        mine, theirs = processes.Pipe(duplex=False)
        process = processes.Process(target=ledger_worker.record_until_killed, args=(str(db), f"k{kill}", theirs))
        process.start()
        theirs.close()
        acknowledged = [mine.recv_bytes() for _ in range(rng.randint(1, 400))]
        process.kill()
        with suppress(EOFError, OSError):
            while True:
                acknowledged.append(mine.recv_bytes())
        process.join()
        mine.close()
        Ledger(db).close()
        with closing(sqlite3.connect(db)) as connection:
            found = connection.execute(
                "SELECT end_user, count(*) FROM anyrerank_calls WHERE end_user LIKE ? GROUP BY end_user",
                (f"k{kill}-%",),
            ).fetchall()
        assert {f"k{kill}-{number.decode()}" for number in acknowledged} <= {user for user, _ in found}
        assert {count for _, count in found} == {1}
        assert len(found) <= len(acknowledged) + 1  # the last call may have been recorded but not acknowledged
        assert [file for file in spooled(db) if file.stat().st_size] == []


def test_program_that_ends_without_closing_loses_no_call(db: Path) -> None:
    command = [sys.executable, "-W", "error", ledger_worker.__file__, str(db), "120"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    assert len(users(db)) == 120
    assert spooled(db) == []


@needs_fork
def test_parent_and_forked_child_record_each_call_once(db: Path, processes: Any) -> None:
    assert exit_code(processes, ledger_worker.record_on_both_sides_of_a_fork, str(db)) == 0
    assert users(db) == ["before", "child", "long before", "parent", "parent again"]
    assert spooled(db) == []


@needs_fork
def test_calls_of_forked_children_that_exit_at_once_are_counted(db: Path, processes: Any) -> None:
    assert exit_code(processes, ledger_worker.record_in_children, str(db)) == 3
    assert spooled(db) == []


@needs_fork
def test_calls_of_a_killed_parent_are_copied_while_its_child_lives(db: Path, processes: Any) -> None:
    mine, theirs = processes.Pipe()
    assert exit_code(processes, ledger_worker.leave_a_child_and_be_killed, str(db), theirs) == -9
    assert mine.recv_bytes() == b"forked"
    Ledger(db).close()
    assert users(db) == ["parent"]
    mine.send_bytes(b"end")


@needs_fork
def test_fork_does_not_wait_for_the_lock_of_another_process(db: Path, processes: Any) -> None:
    assert exit_code(processes, ledger_worker.fork_while_the_database_is_locked, str(db)) == 0
    assert users(db) == ["ann"]


@needs_fork
def test_fork_waits_for_an_open_transaction(db: Path, processes: Any) -> None:
    assert exit_code(processes, ledger_worker.fork_while_a_transaction_is_open, str(db)) == 0
    assert users(db) == ["ann"]
