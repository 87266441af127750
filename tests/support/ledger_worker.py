"""Calls and helpers for the tests of the ledger, and what the processes do that these tests start, kill and fork."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from anyrerank._core.types import Attempt, BilledUnits, Meta, RerankResponse, Results
from anyrerank.hooks import CallEvent
from anyrerank.ledger import Ledger

COHERE = "cohere/rerank-v3.5"
NOON = 1_793_534_400.0
"""2026-11-01 12:00 UTC, in seconds since 1970."""
DAY = 86_400.0
NEVER = 1e6
"""An interval for ledgers that write to the database only when a test tells them to."""
FAILED: dict[str, Any] = {"status": 429, "error": "RateLimitError", "cost": None}


class ServerDialect(SQLiteDialect_pysqlite):
    """SQLite behind the URL of a database server, of a dialect that the ledger does not know."""

    name = "server"
    supports_statement_cache = True

    def create_connect_args(self, url: sa.URL) -> tuple[list[Any], dict[str, Any]]:
        return [str(url.database)], {"check_same_thread": False, "timeout": 0}


registry.register("server", __name__, ServerDialect.__name__)


def tried(deployment: str = COHERE, **known: Any) -> Attempt:
    """An attempt, by default a successful one that cost 0.002 dollars."""
    return Attempt(**{"deployment": deployment, "status": 200, "seconds": 0.5, "cost": 0.002, **known})


def answer(attempts: Sequence[Attempt] = (), **known: Any) -> RerankResponse:
    """The answer of the last attempt."""
    provider, _, model = (attempts[-1].deployment if attempts else COHERE).partition("/")
    meta = Meta(billed_units=BilledUnits(search_units=1)) if attempts else Meta()
    return RerankResponse(
        **{"id": "c-1", "results": Results(), "meta": meta, "provider": provider, "model": model, **known}
    )


def call(
    user: str | None = None,
    attempts: Sequence[Attempt] | None = None,
    *,
    response: RerankResponse | None = None,
    error: BaseException | None = None,
    metadata: Mapping[str, Any] | None = None,
    started: float = NOON,
    **known: Any,
) -> CallEvent:
    """A finished call, by default one with a single successful attempt."""
    tries = (tried(),) if attempts is None else tuple(attempts)
    if response is None and error is None:
        response = answer(tries)
    event: dict[str, Any] = {"provider": "cohere", "model": "rerank-v3.5", "query": "a secret", "top_n": None, **known}
    return CallEvent(
        **{"documents": ["secret one", "secret two"], **event},
        user=user,
        metadata=metadata or {},
        started=started,
        seconds=0.75,
        attempts=tries,
        response=response,
        error=error,
    )


def read(db: Path, table: str = "anyrerank_calls") -> list[dict[str, Any]]:
    """The rows of a table, read without the ledger."""
    with closing(sqlite3.connect(db)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY call, 2")]  # noqa: S608


def users(db: Path) -> list[str]:
    """The end user of every row, sorted."""
    return sorted(row["end_user"] for row in read(db))


def spooled(db: Path) -> list[Path]:
    """The files in the default spool of an SQLite file."""
    return sorted(db.with_name(f"{db.name}-spool").iterdir())


@contextmanager
def locked(db: Path) -> Iterator[sqlite3.Connection]:
    """Another connection that has the write lock of an SQLite file."""
    with closing(sqlite3.connect(db, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        if other.in_transaction:
            other.execute("ROLLBACK")


@contextmanager
def listening(event: str, listener: Callable[..., None]) -> Iterator[None]:
    """Call `listener` at each `event` of any SQLAlchemy engine."""
    sa.event.listen(sa.Engine, event, listener)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, event, listener)


def abandoned(db: Path, *events: CallEvent) -> Path:
    """A spool file whose calls no ledger has copied to the database."""
    ledger = Ledger(db, interval=NEVER, lock_timeout=0)
    for event in events:
        ledger(event)
    with locked(db):
        ledger.close()
    (file,) = spooled(db)
    return file


def wait_for_threads() -> None:
    """Wait until every ledger has copied all its calls: its thread ends then."""
    for thread in threading.enumerate():
        if thread.name == "anyrerank-ledger":
            thread.join(10)


def record_until_killed(db: str, name: str, acknowledged: Connection) -> None:
    """Acknowledge every call once the hook has returned, until the process is killed."""
    ledger = Ledger(db, interval=0.005)
    number = 0
    while True:
        ledger(call(f"{name}-{number}"))
        acknowledged.send_bytes(b"%d" % number)
        number += 1


def record(db: str, name: str, calls: int, barrier: Barrier) -> None:
    """Record calls at the same time as other processes."""
    barrier.wait()
    with Ledger(db, interval=0.005) as ledger:
        for number in range(calls):
            ledger(call(f"{name}-{number}"))


def record_on_both_sides_of_a_fork(db: str, spool: str | None = None) -> None:
    """Record before a fork, in the child, and in the parent while the child runs and after it has ended."""
    ledger = Ledger(db, spool=spool, interval=60.0)
    ledger(call("long before"))
    ledger.flush()
    ledger(call("before"))
    child = os.fork()
    ledger(call("child" if child == 0 else "parent"))
    if child == 0:
        ledger.close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ledger(call("parent again"))
    ledger.close()
    sys.exit(os.waitstatus_to_exitcode(status))


def record_in_children(db: str) -> None:
    """Record in children that end without cleaning up, and exit with the number of calls that were counted."""
    ledger = Ledger(db, interval=60.0)
    for number in range(3):
        child = os.fork()
        if child == 0:
            ledger(call(f"child {number}"))
            os._exit(0)
        os.waitpid(child, 0)
    (spend,) = ledger.spend(())
    os._exit(spend.calls)


def leave_a_child_and_be_killed(db: str, line: Connection) -> None:
    """Record a call and be killed, while a forked child says that it is there and lives until it is sent something."""
    ledger = Ledger(db, interval=60.0)
    ledger(call("parent"))
    if os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    line.send_bytes(b"forked")
    line.recv_bytes()
    os._exit(0)


def fork_while_the_database_is_locked(db: str) -> None:
    """Fork while a thread of the ledger waits for a lock, which is released only after that."""
    ledger = Ledger(db, interval=60.0, lock_timeout=20.0)
    ledger(call("ann"))
    waiting, over = threading.Event(), threading.Event()

    def wait(_: float) -> None:
        waiting.set()
        over.wait(60)

    with patch("time.sleep", wait), locked(Path(db)) as other:
        writer = threading.Thread(target=ledger.flush)
        writer.start()
        waiting.wait(60)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        still_waiting = writer.is_alive()
        other.execute("ROLLBACK")
        over.set()
        writer.join()
    ledger.close()
    sys.exit(0 if still_waiting else 1)


def fork_while_a_transaction_is_open(db: str) -> None:
    """Fork in one thread while another one writes to the database, and exit with 0 if the fork waits for the write."""
    ledger = Ledger(db, interval=60.0)
    ledger(call("ann"))
    writing, go_on = threading.Event(), threading.Event()

    def pause(_: sa.Connection) -> None:
        writing.set()
        go_on.wait(60)

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    writer, forker = threading.Thread(target=ledger.flush), threading.Thread(target=fork)
    with listening("commit", pause):
        writer.start()
        writing.wait(60)
        forker.start()
        forker.join(0.2)
        waits = forker.is_alive()
        go_on.set()
        writer.join()
        forker.join()
    ledger.close()
    sys.exit(0 if waits else 1)


if __name__ == "__main__":  # a program that does not close its ledger
    hook = Ledger(sys.argv[1], interval=60.0)
    for index in range(int(sys.argv[2])):
        hook(call(f"user-{index}"))
