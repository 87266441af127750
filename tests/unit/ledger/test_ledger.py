"""What the ledger writes down, that it loses nothing and counts nothing twice, and how it is asked."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import math
import multiprocessing
import os
import pickle
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import ledger_worker
from tests.support.frameworks import Wire
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay
from tests.support.ledger_worker import COHERE, NOON, answer, call, tried

from anyrerank import BadRequestError, ConfigurationError, MemoryCache, RateLimitError, RerankError, Router
from anyrerank._core.types import BilledUnits, Meta
from anyrerank.errors import APIConnectionError
from anyrerank.hooks import CallEvent
from anyrerank.ledger import Ledger, LedgerError, hook, store

NEVER = 1e6
"""Seconds between two writes, for a ledger that is to write only when it is told to."""
DAY = 86_400.0
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork and no flock")


def read(db: Path, table: str = "anyrerank_calls") -> list[dict[str, Any]]:
    """The rows of a table, as anybody else reads them."""
    with closing(sqlite3.connect(db)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY call, 2")]  # noqa: S608


def users(db: Path) -> list[str]:
    return sorted(row["end_user"] for row in read(db))


def written(db: Path, *events: CallEvent) -> list[dict[str, Any]]:
    with Ledger(db, interval=NEVER) as ledger:
        for event in events:
            ledger(event)
    return read(db)


def wait_for_writers() -> None:
    """Threads that write end when there is nothing left to write."""
    for thread in threading.enumerate():
        if thread.name == "anyrerank-ledger":
            thread.join(10)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


# What is written


def test_a_call_is_a_row(db: Path) -> None:
    (row,) = written(db, call("ann", metadata={"tags": ["rag", "beta", "rag"], "team": "secret"}))
    key = row.pop("call")
    assert row == {
        "part": 0,
        "time": NOON,
        "day": "2026-11-01",
        "end_user": "ann",
        "model": COHERE,
        "deployment": COHERE,
        "provider": "cohere",
        "requests": 1,
        "failures": 0,
        "documents": 2,
        "search_units": 1,
        "tokens": None,
        "cost": 0.002,
        "estimated": 0,
        "seconds": 0.5,
        "error": None,
        "cached": 0,
        "saved": 0.0,
    }
    assert [(tag["call"], tag["tag"]) for tag in read(db, "anyrerank_tags")] == [(key, "rag"), (key, "beta")]
    assert b"secret" not in b"".join(file.read_bytes() for file in db.parent.rglob("*") if file.is_file())


def seen(rows: Sequence[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


FAILED: dict[str, Any] = {"status": 429, "error": "RateLimitError", "cost": None}


def test_tries_of_one_deployment_are_added_up(db: Path) -> None:
    rows = written(db, call("ann", [tried(**FAILED), tried(estimated=True)]))
    names = ("requests", "failures", "cost", "estimated", "seconds", "error", "search_units")
    assert seen(rows, *names) == [(2, 1, 0.002, 1, 1.0, None, 1)]


def test_a_fallback_is_a_row_of_its_own(db: Path) -> None:
    attempts = [tried(**FAILED), tried("voyage/rerank-2", cost=0.01)]
    rows = written(db, call("ann", attempts, metadata={"tags": ["rag"]}))
    names = ("part", "model", "deployment", "provider", "failures", "cost", "error", "search_units")
    assert seen(rows, *names) == [
        (0, COHERE, COHERE, "cohere", 1, 0.0, "RateLimitError", None),
        (1, COHERE, "voyage/rerank-2", "voyage", 0, 0.01, None, 1),
    ]
    assert len({row["call"] for row in rows}) == 1
    assert len(read(db, "anyrerank_tags")) == 1


def test_entries_of_a_router_have_their_ids(db: Path) -> None:
    attempts = [tried(model_id="east", **FAILED), tried(model_id="west")]
    rows = written(db, call("ann", attempts, model_group="best"))
    assert seen(rows, "model", "deployment", "provider", "error") == [
        ("best", "east", "cohere", "RateLimitError"),
        ("best", "west", "cohere", None),
    ]


@pytest.mark.parametrize(
    ("attempt", "error", "expected"),
    [
        (tried(**FAILED), RateLimitError("slow down"), (1, 0.0, 0, "RateLimitError")),
        (
            tried(status=None, error="APITimeoutError", cost=None),
            APIConnectionError("late"),
            (1, 0.0, 1, "APITimeoutError"),
        ),
        (tried(), asyncio.CancelledError(), (0, 0.002, 0, "CancelledError")),
        (tried(error="APIResponseValidationError"), RerankError("no"), (1, 0.002, 0, "APIResponseValidationError")),
    ],
    ids=["refused", "late", "cancelled", "useless"],
)
def test_a_call_that_failed_is_a_row(db: Path, attempt: Any, error: BaseException, expected: tuple[Any, ...]) -> None:
    rows = written(db, call("ann", [attempt], error=error))
    assert seen(rows, "failures", "cost", "estimated", "error") == [expected]
    assert seen(rows, "search_units", "tokens") == [(None, None)]


def test_a_degraded_call_was_answered_by_nobody(db: Path) -> None:
    attempts = [tried(**FAILED)]
    rows = written(db, call("ann", attempts, response=answer(attempts, degraded=True)))
    assert seen(rows, "deployment", "error", "search_units") == [(COHERE, "RateLimitError", None)]


def test_an_answer_from_the_cache_is_a_row_that_cost_nothing(db: Path) -> None:
    rows = written(db, call("ann", [], response=answer(cached=2, saved=0.004)))
    names = ("deployment", "provider", "requests", "cost", "cached", "saved", "documents")
    assert seen(rows, *names) == [(COHERE, "cohere", 0, 0.0, 2, 0.004, 2)]


def test_what_was_not_sent_is_no_row(db: Path) -> None:
    assert written(db, call("ann", [], error=BadRequestError("blank"))) == []


def test_a_cost_that_is_not_known_is_not_zero(db: Path) -> None:
    rows = written(db, call("ann", [tried(cost=None)]), call("bob", [tried(), tried(cost=None)]))
    assert seen(rows, "cost") == [(None,), (None,)]


@pytest.mark.parametrize("tags", [None, [], "rag", {"rag": 1}, 7, [7, None]])
def test_tags_are_strings_in_a_list(db: Path, tags: Any) -> None:
    (row,) = written(db, call("ann", metadata={"tags": tags}))
    assert row["end_user"] == "ann"
    assert read(db, "anyrerank_tags") == []


@pytest.mark.parametrize(
    ("user", "kept"),
    [("a\0b", "a\ufffdb"), ("a\ud800b", "a?b"), ("a\\u0000b", "a\\u0000b"), ("l'été\n🌞\u2028\r", "l'été\n🌞\u2028\r")],
)
def test_odd_names_are_kept_as_far_as_databases_can(db: Path, user: str, kept: str) -> None:
    written(db, call(user, metadata={"tags": [user]}), call("ann"))
    assert sorted(users(db)) == sorted([kept, "ann"])
    assert [row["tag"] for row in read(db, "anyrerank_tags")] == [kept]


def test_numbers_that_no_database_has_are_kept_nearly(db: Path) -> None:
    (row,) = written(db, call("ann", [tried(cost=math.nan)], documents=[""], response=answer(saved=math.inf)))
    assert seen([row], "cost", "saved") == [(None, None)]


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 - 1, 2**64])
def test_units_that_are_too_many_for_a_column_are_kept_nearly(db: Path, number: int) -> None:
    meta = Meta(billed_units=BilledUnits(search_units=number, total_tokens=number))
    (row,) = written(db, call("ann", response=answer([tried()], meta=meta)))
    assert seen([row], "search_units", "tokens") == [(float(number), float(number))]


def test_days_are_those_of_utc(db: Path) -> None:
    rows = written(db, *(call(str(place), started=NOON + seconds) for place, seconds in enumerate((-43_201, 43_199.9))))
    assert seen(rows, "day") == [("2026-10-31",), ("2026-11-01",)]


OK = {"index": 0, "relevance_score": 0.9}, {"index": 1, "relevance_score": 0.2}, {"index": 2, "relevance_score": 0.1}
ANSWER = {"response": {"status": 200, "json": {"results": OK, "meta": {"billed_units": {"search_units": 3}}}}}
LIMITED = {"response": {"status": 429, "headers": {"retry-after": "0"}, "json": {"message": "slow down"}}}


def test_a_reranker_tells_its_ledger(db: Path, mode: Mode, waits: list[float]) -> None:
    with Ledger(db) as ledger:
        client = Replay([LIMITED, ANSWER]).client(mode)
        options: dict[str, Any] = {"user": "ann", "metadata": {"tags": ["rag"]}, "hooks": [ledger], "max_retries": 1}
        mode.rerank(mode.reranker(http_client=client, **options), QUERY, DOCUMENTS)
        (spend,) = ledger.spend(("user", "model", "tag"))
        assert spend.group == {"user": "ann", "model": COHERE, "tag": "rag"}
        assert (spend.calls, spend.requests, spend.failures, spend.documents) == (1, 2, 1, 3)
        assert (spend.search_units, spend.cost) == (3, 0.006)


def test_calls_of_a_reranker_that_fail_or_cannot_be_sent(db: Path, mode: Mode) -> None:
    with Ledger(db) as ledger:
        reranker = mode.reranker(http_client=Replay([LIMITED]).client(mode), hooks=[ledger])
        for query in (QUERY, " "):
            with pytest.raises(RerankError):
                mode.rerank(reranker, query, DOCUMENTS)
        (spend,) = ledger.spend("deployment")
    assert (spend.calls, spend.failures, spend.cost) == (1, 1, 0.0)


# Nothing is lost, and nothing counted twice


def segments(db: Path) -> list[Path]:
    return sorted(db.with_name(f"{db.name}-journal.d").iterdir())


def test_the_journal_is_empty_once_all_is_written(db: Path) -> None:
    with Ledger(db, interval=NEVER) as ledger:
        ledger(call("ann"))
        assert read(db) == []
        assert len(segments(db)) == 1
        ledger.flush()
        assert users(db) == ["ann"]
        assert segments(db) == []
        ledger(call("bob"))
    assert users(db) == ["ann", "bob"]
    assert segments(db) == []


def test_rows_are_written_in_the_background(db: Path) -> None:
    with Ledger(db, interval=0.001) as ledger:
        for name in ("ann", "bob"):
            ledger(call(name))
            wait_for_writers()
            assert name in users(db)
        ledger(call("eve"))
    assert users(db) == ["ann", "bob", "eve"]


def test_a_ledger_that_is_let_go_of_loses_nothing(db: Path) -> None:
    ledger = Ledger(db, interval=0.001)
    ledger(call("ann"))
    del ledger
    gc.collect()
    wait_for_writers()
    assert users(db) == ["ann"]


def test_a_closed_ledger_opens_again(db: Path) -> None:
    ledger = Ledger(db, interval=NEVER)
    for name in ("ann", "bob"):
        ledger(call(name))
        ledger.close()
    assert users(db) == ["ann", "bob"]


@pytest.mark.parametrize("at_once", [store._AT_ONCE, (50, 1)])
def test_more_rows_than_a_statement_or_a_batch_holds(
    db: Path, monkeypatch: pytest.MonkeyPatch, at_once: tuple[int, ...]
) -> None:
    monkeypatch.setattr(store, "_AT_ONCE", at_once)
    rows = written(db, *(call(f"u-{place}", metadata={"tags": ["a", "b"]}) for place in range(2_345)))
    assert len(rows) == 2_345
    assert len(read(db, "anyrerank_tags")) == 4_690


def test_threads_share_a_ledger(db: Path) -> None:
    with Ledger(db, interval=0.001) as ledger:
        threads = [
            threading.Thread(
                target=lambda mine: list(map(ledger, mine)), args=([call(f"{n}-{i}") for i in range(200)],)
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert users(db) == sorted(f"{name}-{place}" for name in range(8) for place in range(200))


@pytest.fixture(scope="module")
def processes() -> Any:
    """Starts processes, quickly where that is possible."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([ledger_worker.__name__])
    return context


def test_processes_share_a_database_from_its_beginning(db: Path, processes: Any) -> None:
    together = processes.Barrier(4)
    started = [
        processes.Process(target=ledger_worker.record, args=(str(db), f"p{name}", 200, together)) for name in range(4)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * 4
    assert users(db) == sorted(f"p{name}-{place}" for name in range(4) for place in range(200))
    assert segments(db) == []


def test_a_process_that_is_killed_loses_no_call(db: Path, processes: Any) -> None:
    chance = random.Random(20_261_101)
    for number in range(50):
        mine, theirs = processes.Pipe(duplex=False)
        process = processes.Process(target=ledger_worker.record_for_ever, args=(str(db), f"k{number}", theirs))
        process.start()
        theirs.close()
        told = [mine.recv_bytes() for _ in range(chance.randint(1, 400))]
        process.kill()
        with suppress(EOFError, OSError):
            while True:
                told.append(mine.recv_bytes())
        process.join()
        mine.close()
        Ledger(db).close()
        with closing(sqlite3.connect(db)) as connection:
            found = connection.execute(
                "SELECT end_user, count(*) FROM anyrerank_calls WHERE end_user LIKE ? GROUP BY end_user",
                (f"k{number}-%",),
            ).fetchall()
        assert {f"k{number}-{place.decode()}" for place in told} <= {user for user, _ in found}
        assert {count for _, count in found} == {1}
        assert len(found) <= len(told) + 1  # the last one may not have been told of
        assert segments(db) == []


def test_a_program_that_ends_loses_no_call(db: Path) -> None:
    command = [sys.executable, "-W", "error", ledger_worker.__file__, str(db), "120"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    assert len(users(db)) == 120
    assert segments(db) == []


def exit_code(processes: Any, work: Callable[[str], None], db: Path) -> int | None:
    """What a process that does `work` ends with."""
    process = processes.Process(target=work, args=(str(db),))
    process.start()
    process.join(60)
    code: int | None = process.exitcode
    return code


@POSIX
def test_a_child_process_keeps_to_itself(db: Path, processes: Any) -> None:
    assert exit_code(processes, ledger_worker.record_on_both_sides_of_a_fork, db) == 0
    assert users(db) == ["before", "child", "parent", "parent again"]
    assert segments(db) == []


def left_behind(db: Path, *events: CallEvent) -> Path:
    """The journal of a process that was killed."""
    ledger = Ledger(db, interval=NEVER)
    for event in events:
        ledger(event)
    (segment,) = segments(db)
    content = segment.read_bytes()
    ledger.close()
    with closing(sqlite3.connect(db)) as connection, connection:
        for table in ("anyrerank_calls", "anyrerank_tags"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608
    segment.write_bytes(content)
    return segment


@pytest.mark.parametrize("kept", [1, 30, -20, -1])
def test_a_line_that_was_cut_off_is_left_out(db: Path, kept: int) -> None:
    segment = left_behind(db, call("ann"), call("bob"))
    first, last = segment.read_bytes().rsplit(b"\n", 1)
    segment.write_bytes(first + b"\n" + last[:kept])
    Ledger(db).close()
    assert users(db) == ["ann"]
    assert segments(db) == []


def test_what_follows_a_line_that_was_cut_off_is_kept(db: Path) -> None:
    segment = left_behind(db, call("ann"), call("bob"))
    first, last = segment.read_bytes().rsplit(b"\n", 1)
    segment.write_bytes(first[:-9] + b"\n" + last)
    Ledger(db).close()
    assert users(db) == ["bob"]


FACTS = [b'["x",1,2,3,4,5,6,7,8,9,10]', b"[7,1.0,null,null,1,2,3,null,[],null,null]", b"[[],1,2,3,4,5,6,7,8,9,10]"]
GARBAGE = [b"\n", b"\0\0\0\0", b"\n{}\n[]\n7", b"\xff\n[", *FACTS]


@pytest.mark.parametrize("content", GARBAGE)
def test_a_file_in_which_nothing_is_ours_is_left_alone(db: Path, content: bytes) -> None:
    segment = left_behind(db, call("ann"))
    segment.write_bytes(content)
    with Ledger(db, interval=NEVER) as ledger:
        ledger(call("bob"))
    assert users(db) == ["bob"]
    assert segments(db) == [segment]
    assert segment.read_bytes() == content


@pytest.mark.parametrize("content", GARBAGE)
def test_garbage_beside_rows_is_no_matter(db: Path, content: bytes) -> None:
    segment = left_behind(db, call("ann"))
    segment.write_bytes(segment.read_bytes() + b"\n" + content)
    Ledger(db).close()
    assert users(db) == ["ann"]
    assert segments(db) == []


def test_an_empty_file_of_the_journal_is_removed(db: Path) -> None:
    left_behind(db, call("ann")).write_bytes(b"")
    Ledger(db).close()
    assert segments(db) == []


def test_somebody_s_own_files_in_the_journal_s_folder_are_left_alone(db: Path) -> None:
    (db.parent / "dataset.jsonl").write_text('{"text": "my only copy"}\n')
    with Ledger(db, journal=db.parent) as ledger:
        ledger(call("ann"))
    assert sorted(path.name for path in db.parent.iterdir()) == ["dataset.jsonl", "spend.db"]
    assert (db.parent / "dataset.jsonl").read_text() == '{"text": "my only copy"}\n'


def orphans(db: Path, number: int) -> None:
    """What as many processes left that were killed, a call each, of `0`, `1` and so on."""
    segment = left_behind(db, *(call(str(place)) for place in range(number)))
    lines = segment.read_bytes().split(b"\n")[1:]
    segment.unlink()
    for place, line in enumerate(lines):
        segment.with_name(f"{place:016x}-0.jsonl").write_bytes(b"\n" + line)


@pytest.fixture
def open_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files of journals were open, each time that one was opened."""
    make, close = os.open, os.close
    now: set[int] = set()
    counts: list[int] = []

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        descriptor = make(path, *arguments, **options)
        if str(path).endswith(".jsonl"):
            now.add(descriptor)
            counts.append(len(now))
        return descriptor

    def closed(descriptor: int) -> None:
        now.discard(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "close", closed)
    return counts


def test_what_many_processes_left_is_opened_one_by_one(db: Path, open_at_once: list[int]) -> None:
    orphans(db, 30)
    open_at_once.clear()
    Ledger(db).close()
    assert len(users(db)) == 30
    assert len(open_at_once) >= 30
    assert max(open_at_once) == 1


def test_a_live_ledger_writes_what_others_left(db: Path) -> None:
    with Ledger(db, interval=NEVER) as asked, Ledger(db, interval=0.001) as working:
        orphans(db, 3)
        (spend,) = asked.spend(())
        assert spend.calls == 3
        assert segments(db) == []
        orphans(db, 3)
        working(call("ann"))
        wait_for_writers()
        assert users(db) == ["0", "1", "2", "ann"]
        assert segments(db) == []


@POSIX
def test_calls_of_forked_children_are_counted(db: Path, processes: Any) -> None:
    assert exit_code(processes, ledger_worker.record_in_children, db) == 3
    assert segments(db) == []


def test_rows_that_were_written_already_are_not_written_again(db: Path) -> None:
    segment = left_behind(db, call("ann", metadata={"tags": ["rag"]}), call("bob"))
    content = segment.read_bytes()
    for _ in range(2):
        segment.write_bytes(content)
        Ledger(db).close()
        assert users(db) == ["ann", "bob"]
        assert len(read(db, "anyrerank_tags")) == 1


def test_nor_by_a_database_that_does_not_leave_them_out_itself(
    db: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_INSERT", {})
    segment = left_behind(db, *(call(f"u-{place}", metadata={"tags": ["rag"]}) for place in range(120)))
    content = segment.read_bytes()
    for part in (content[: len(content) // 2], content, content):
        segment.write_bytes(part)
        Ledger(db).close()
    assert len(users(db)) == len(set(users(db))) == 120
    assert len(read(db, "anyrerank_tags")) == 120
    assert warnings(caplog) == []


@POSIX
def test_what_another_ledger_holds_is_left_to_it(db: Path) -> None:
    with Ledger(db, interval=NEVER) as ledger:
        ledger(call("ann"))
        Ledger(db).close()
        assert read(db) == []
        assert len(segments(db)) == 1
    assert users(db) == ["ann"]


def test_what_is_recorded_while_a_ledger_closes_is_written(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(db, interval=NEVER)
    late = [call("late")]
    write = ledger._try_to_write

    def write_and_record() -> bool:
        written = write()
        while late:
            ledger(late.pop())
        return written

    monkeypatch.setattr(ledger, "_try_to_write", write_and_record)
    ledger(call("ann"))
    ledger.close()
    assert segments(db) == []
    assert users(db) == ["ann", "late"]


def test_threads_may_close_a_ledger_that_others_use(db: Path) -> None:
    ledger = Ledger(db, interval=0.001)

    def use(name: int) -> None:
        for place in range(100):
            ledger(call(f"{name}-{place}"))
            if place % 20 == name:
                ledger.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    ledger.close()
    assert users(db) == sorted(f"{name}-{place}" for name in range(4) for place in range(100))
    assert segments(db) == []


# When the disk or the database fails


@contextmanager
def locked(db: Path) -> Iterator[None]:
    """The database, as long as somebody else writes to it."""
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "anyrerank"]


def test_rows_wait_while_the_database_is_locked(db: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Ledger(db, interval=NEVER, patience=0.01) as ledger:
        with locked(db):
            for name in ("ann", "bob"):
                ledger(call(name))
                with pytest.raises(LedgerError, match="locked"):
                    ledger.flush()
                with pytest.raises(LedgerError, match="locked"):
                    ledger.spend()
        assert [spend.calls for spend in ledger.spend(())] == [2]
    assert users(db) == ["ann", "bob"]
    assert warnings(caplog) == []


def test_no_more_files_are_kept_open_while_the_database_is_locked(db: Path, open_at_once: list[int]) -> None:
    with Ledger(db, interval=NEVER, patience=0) as ledger:
        with locked(db):
            for place in range(10):
                ledger(call(str(place)))
                with pytest.raises(LedgerError, match="locked"):
                    ledger.flush()
        assert max(open_at_once) == 2
    assert len(users(db)) == 10
    assert segments(db) == []


def test_a_new_database_that_is_locked_for_a_moment_is_waited_for(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(store, "sleep", lambda _: other.execute("ROLLBACK"))
        with Ledger(db, interval=NEVER) as ledger:
            ledger(call("ann"))
    assert users(db) == ["ann"]


def test_a_database_that_another_process_makes_at_this_moment_is_waited_for(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself does not wait while somebody else has a file open that is to become one of WAL."""
    create = store.Store._create
    with closing(sqlite3.connect(db, isolation_level=None)) as other:

        def locked_first(self: store.Store, connection: sa.Connection) -> None:
            if not waited:
                other.execute("BEGIN IMMEDIATE")
            create(self, connection)

        def wait(_: float) -> None:
            waited.append(True)
            other.execute("ROLLBACK")

        waited: list[bool] = []
        monkeypatch.setattr(store.Store, "_create", locked_first)
        monkeypatch.setattr(store, "sleep", wait)
        Ledger(db).close()
    assert waited == [True]


@POSIX
def test_no_fork_waits_for_somebody_else_s_lock(db: Path, processes: Any) -> None:
    assert exit_code(processes, ledger_worker.fork_while_the_database_is_locked, db) == 0
    assert users(db) == ["ann"]


TOO_MANY = {"cached": 2**63, "saved": 0.0}


@pytest.mark.parametrize("inserts", [store._INSERT, {}], ids=["by itself", "asked first"])
def test_a_call_that_the_database_refuses_is_left_out_alone(
    db: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, inserts: Any
) -> None:
    monkeypatch.setattr(store, "_INSERT", inserts)
    events = [call(f"u-{place}", metadata={"tags": [f"t-{place}"]}) for place in range(70)]
    events[33] = call(
        "bad", [tried(**FAILED), tried("voyage/rerank-2")], response=answer([tried("voyage/rerank-2")], **TOO_MANY)
    )
    written(db, *events)
    assert users(db) == sorted(f"u-{place}" for place in range(70) if place != 33)
    assert len(read(db, "anyrerank_tags")) == 69
    assert segments(db) == []
    (warning,) = warnings(caplog)
    assert warning == f"the ledger {db} refuses a call, which is left out: OverflowError"


def test_whatever_fails_is_said_once_and_tried_again(
    db: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(db, interval=0.001)
    add, failures = ledger._store.add, [RuntimeError("pass-Word-1")] * 3

    def fail_first(batches: Any) -> int:
        if failures:
            raise failures.pop()
        return add(batches)

    monkeypatch.setattr(ledger._store, "add", fail_first)
    ledger(call("ann"))
    wait_for_writers()
    assert users(db) == ["ann"]
    (warning,) = warnings(caplog)
    assert f"the ledger {db} cannot be written: RuntimeError; rows wait in the journal" in warning


def test_a_log_that_fails_stops_no_writing(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(db, interval=0.001, patience=0)
    asked = threading.Event()

    def refuse(record: logging.LogRecord) -> bool:
        asked.set()
        raise RuntimeError("a filter of the application's")

    monkeypatch.setattr(logging.getLogger("anyrerank"), "filters", [refuse])
    with locked(db):
        ledger(call("ann"))
        assert asked.wait(10)
    wait_for_writers()
    assert users(db) == ["ann"]


def test_a_ledger_that_cannot_be_closed_keeps_no_other_open(
    db: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledgers = [Ledger(db.with_name(f"{name}.db"), interval=NEVER) for name in "ab"]
    for ledger in ledgers:
        ledger(call("ann"))

    def fail() -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as patched:
        patched.setattr(hook, "_ledgers", ledgers)
        patched.setattr(ledgers[0], "close", fail)
        hook._close_all()
    assert users(db.with_name("b.db")) == ["ann"]
    (warning,) = warnings(caplog)
    assert warning == f"{ledgers[0]!r} could not be closed: RuntimeError"
    ledgers[0].close()


def test_it_is_said_once_and_tried_again(
    db: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = threading.Event()

    def hear(record: logging.LogRecord) -> bool:
        said.set()
        return True

    monkeypatch.setattr(logging.getLogger("anyrerank"), "filters", [hear])
    ledger = Ledger(db, interval=0.001, patience=0.001)
    with locked(db):
        ledger(call("ann"))
        assert said.wait(10)
        ledger(call("bob"))
        ledger.close()
        (warning,) = warnings(caplog)
        assert "locked" in warning
        assert "rows wait in the journal" in warning
    ledger(call("eve"))
    Ledger(db).close()
    ledger.close()
    assert users(db) == ["ann", "bob", "eve"]
    assert segments(db) == []


def test_a_ledger_that_closes_in_vain_leaves_its_journal(db: Path, caplog: pytest.LogCaptureFixture) -> None:
    with locked_after_making(db) as ledger:
        ledger(call("ann"))
        ledger.close()
        assert len(segments(db)) == 1
        Ledger(db, interval=NEVER, patience=0.001).close()
    assert len(warnings(caplog)) == 2
    Ledger(db).close()
    assert users(db) == ["ann"]


@contextmanager
def locked_after_making(db: Path) -> Iterator[Ledger]:
    ledger = Ledger(db, interval=NEVER, patience=0.001)
    with locked(db):
        yield ledger


@pytest.mark.parametrize("short", [True, False], ids=["half a line", "nothing"])
def test_rows_are_kept_in_memory_while_the_disk_is_full(
    db: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        if short:
            return write(descriptor, content[:40])
        raise OSError(28, "No space left on device")

    with Ledger(db, interval=NEVER) as ledger:
        ledger(call("ann"))
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            ledger(call("bob"))
            ledger(call("cid", metadata={"tags": ["rag"]}))
        ledger(call("eve"))
        (warning,) = warnings(caplog)
        assert "kept in memory" in warning
    assert users(db) == ["ann", "bob", "cid", "eve"]
    assert len(read(db, "anyrerank_tags")) == 1


def test_nothing_stays_of_a_file_that_took_half_a_line(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with Ledger(db, interval=NEVER) as ledger, monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:40]))
        ledger(call("ann"))
        ledger.flush()
        assert segments(db) == []
    assert users(db) == ["ann"]


@pytest.mark.parametrize("waiting", [True, False], ids=["an attempt was in vain", "no attempt"])
def test_rows_in_memory_are_in_the_journal_as_soon_as_it_works_again(
    db: Path, monkeypatch: pytest.MonkeyPatch, waiting: bool
) -> None:
    def full(descriptor: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with locked_after_making(db) as ledger:
        if waiting:
            ledger(call("ann"))
            with pytest.raises(LedgerError, match="locked"):
                ledger.flush()
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            ledger(call("bob"))
            ledger(call("cid"))
        with pytest.raises(LedgerError, match="locked"):
            ledger.flush()
        journal = b"".join(segment.read_bytes() for segment in segments(db))
        assert b"bob" in journal
        assert b"cid" in journal
        ledger.close()
    Ledger(db).close()
    assert users(db) == [*(["ann"] if waiting else []), "bob", "cid"]


def test_a_journal_that_is_taken_away_is_made_again(db: Path) -> None:
    with Ledger(db, interval=NEVER) as ledger:
        segments(db)
        db.with_name(f"{db.name}-journal.d").rmdir()
        ledger(call("ann"))
    assert users(db) == ["ann"]


# What it cannot be made of


def no_database(folder: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("These are notes, and no database at all. " * 100)
    return path


def of_another_version(folder: Path) -> Path:
    path = folder / "old.db"
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE anyrerank_ledger SET version = 99")
    return path


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (lambda folder: folder / "missing" / "spend.db", "does not exist: make it first"),
        (lambda folder: folder, "unable to open database file"),
        (no_database, "not a database"),
        (of_another_version, r"another version \(99; this is 1\)"),
        (lambda folder: "", "a ledger in memory would be lost"),
        (lambda folder: ":memory:", "a ledger in memory would be lost"),
        (lambda folder: "sqlite://", "a ledger in memory would be lost"),
        (lambda folder: "://pass-Word-1", "is not of the form"),
        (lambda folder: "postgresql://user:pass-Word-1@host:port/name", "is not of the form .* with a number as port"),
        (lambda folder: "postgresql://user:pa@pass-Word-1:pass-Word-1@host/name", "is not of the form .*@ as %40"),
        (
            lambda folder: "postgresql+psycopg://user:p@pass-Word-1@host/name",
            r"more than one @: percent-encode .*\(@ as %40",
        ),
        (lambda folder: "postgresql+psycopg://user:p@ss/pass-Word-1@host/name", "more than one @"),
        (lambda folder: f"sqlite:///{folder}/x.db?timeout=pass-Word-1", "cannot read an option"),
        (lambda folder: None, "the url of a ledger is a str or a PathLike, and not of type NoneType"),
        (lambda folder: 5, "the url of a ledger is a str or a PathLike"),
        (lambda folder: b"x.db", "the url of a ledger is a str or a PathLike"),
        (
            lambda folder: sa.make_url("sqlite:///x.db"),
            "the url of a ledger is a str or a PathLike, and not of type URL",
        ),
        (lambda folder: "pass-Word-1\0.db", "the url of a ledger holds a NUL"),
        (lambda folder: "pass-Word-1\ud800.db", "the url of a ledger holds .* half a surrogate pair"),
        (lambda folder: "nosuch://user:pass-Word-1@host/name", "nosuch is no database that SQLAlchemy knows"),
        (lambda folder: "postgresql+asyncpg://user:pass-Word-1@host/name", "asynchronous driver"),
    ],
)
def test_what_a_ledger_cannot_be_made_of(tmp_path: Path, made: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        Ledger(made(tmp_path))
    assert "pass-Word-1" not in f"{caught.value!r}"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        *(
            ("interval", value, "a number of seconds above 0$")
            for value in ("a", -1, 0, math.inf, math.nan, None, True)
        ),
        *(("patience", value, "a number of seconds of at least 0$") for value in ("a", -1, math.inf, math.nan, None)),
        *(("journal", value, "a str or a PathLike") for value in (5, b"x")),
        *(("journal", value, "holds a NUL") for value in ("a\0", "\ud800")),
    ],
)
def test_what_no_option_of_a_ledger_is(db: Path, option: str, value: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{option}.* of a ledger,? (is )?{problem}"):
        Ledger(db, **{option: value})
    assert list(db.parent.iterdir()) == []


def test_an_interval_may_be_longer_than_any_wait(db: Path) -> None:
    with Ledger(db, interval=1e300) as ledger:
        ledger(call("ann"))
    assert users(db) == ["ann"]


def test_neither_user_nor_password_are_shown(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigurationError) as caught:
        Ledger("postgresql+psycopg://some%40body:pass%2FWord@127.0.0.1:1/db?application_name=pass", journal=tmp_path)
    assert "the ledger postgresql+psycopg://127.0.0.1:1/db cannot be used" in str(caught.value)
    for secret in ("body", "pass", "Word", "***"):
        assert secret not in f"{caught.value!r}"


def named(url: str) -> Any:
    return SimpleNamespace(file=None, url=sa.make_url(url))


def test_a_journal_is_one_database_s_whatever_its_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("XDG_STATE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    urls = ["u:a@h/db", "u:b@h/db", "u:a@h/other", "v:a@h/db", "u:a@h:1/db", "u:a@/db?host=x", "u:a@/db?host=y"]
    first, *others = [hook._default_folder(named(f"postgresql://{url}")) for url in urls]
    assert others[0] == first
    assert len({first, *others}) == 6


def test_without_a_home_directory_the_journal_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for variable in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(ConfigurationError, match="no home directory for the journal: name a folder with journal="):
        hook._default_folder(named("postgresql://h/db"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("what", ["file", "folder", "journal"])
def test_a_disk_that_cannot_be_written(db: Path, what: str) -> None:
    Ledger(db).close()
    path = {"file": db, "folder": db.parent, "journal": db.with_name(f"{db.name}-journal.d")}[what]
    mode = path.stat().st_mode
    path.chmod(0o500)
    try:
        with pytest.raises(ConfigurationError, match="cannot be written"):
            Ledger(db)
    finally:
        path.chmod(mode)


def test_a_journal_needs_a_folder(db: Path) -> None:
    (db.parent / "notes.txt").touch()
    with pytest.raises(ConfigurationError, match=r"the journal .*notes.txt cannot be written: .*journal= names"):
        Ledger(db, journal=db.parent / "notes.txt")


def test_without_sqlalchemy_it_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['sqlalchemy'] = None; import anyrerank.ledger"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert "ConfigurationError" in done.stderr
    assert "pip install 'anyrerank[ledger]'" in done.stderr


def test_a_journal_is_kept_where_one_likes(db: Path) -> None:
    elsewhere = db.parent / "on" / "another" / "disk"
    with Ledger(db, journal=elsewhere, interval=NEVER) as ledger:
        ledger(call("ann"))
        assert len(list(elsewhere.iterdir())) == 1
    assert users(db) == ["ann"]
    assert not db.with_name(f"{db.name}-journal.d").exists()


@pytest.mark.parametrize("url", ["sqlite:///{}", "sqlite+pysqlite:///{}"])
def test_a_file_may_be_named_by_a_url(db: Path, url: str) -> None:
    with Ledger(url.format(db)) as ledger:
        ledger(call("ann"))
    assert users(db) == ["ann"]


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    ledger = Ledger("spend.db")
    monkeypatch.chdir(tmp_path)
    ledger(call("ann"))
    with pickle.loads(pickle.dumps(ledger)) as again:  # noqa: S301
        again(call("bob"))
    ledger.close()
    assert users(tmp_path / "a" / "spend.db") == ["ann", "bob"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])  # noqa: S301
def test_a_copy_writes_to_the_same_database(db: Path, copied: Any) -> None:
    ledger = Ledger(db, interval=0.001)
    for each in (ledger, copied(ledger)):
        each(call("ann"))
    wait_for_writers()
    assert users(db) == ["ann", "ann"]


def test_a_ledger_says_where_it_is(db: Path) -> None:
    with Ledger(db) as ledger:
        assert repr(ledger) == f"Ledger({str(db)!r})"


# Questions


def test_spending_is_grouped_and_the_dearest_comes_first(db: Path) -> None:
    with Ledger(db) as ledger:
        for user, cost in (("ann", 0.002), ("bob", 0.05), ("ann", 0.001), (None, 0.0), ("eve", None)):
            ledger(call(user, [tried(cost=cost)]))
        found = ledger.spend("user")
        assert [(spend.group["user"], spend.calls, spend.cost, spend.unknown) for spend in found] == [
            ("bob", 1, 0.05, 0),
            ("ann", 2, 0.003, 0),
            (None, 1, 0.0, 0),
            ("eve", 1, None, 1),
        ]
        assert ledger.total() == pytest.approx(0.053)
        assert ledger.total(user="ann") == pytest.approx(0.003)
        assert ledger.total(user="nobody") == 0.0


def test_nothing_spent_is_zero(db: Path) -> None:
    with Ledger(db) as ledger:
        assert ledger.spend() == []
        (everything,) = ledger.spend(())
        assert (everything.calls, everything.cost, everything.unknown) == (0, 0.0, 0)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, 5),
        (date(2026, 11, 1), None, 4),
        (date(2026, 11, 2), None, 2),
        (None, date(2026, 11, 1), 3),
        (date(2026, 11, 1), date(2026, 11, 1), 2),
        (datetime(2026, 11, 1, 12, tzinfo=timezone.utc), datetime(2026, 11, 2, 12, tzinfo=timezone.utc), 2),
        (datetime(2026, 11, 1, 13, tzinfo=timezone(timedelta(hours=1))), None, 3),
        (date.min, date.max, 5),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=5))), datetime.max.replace(tzinfo=timezone.utc), 5),
    ],
)
def test_time_is_limited_by_days_or_moments(db: Path, since: Any, until: Any, expected: int) -> None:
    starts = (NOON - DAY, NOON - DAY / 2, NOON, NOON + DAY / 2, NOON + DAY)
    with Ledger(db) as ledger:
        for started in starts:
            ledger(call("ann", started=started))
        (found,) = ledger.spend((), since=since, until=until)
        assert found.calls == expected
        assert ledger.total(since=since, until=until) == pytest.approx(0.002 * expected)


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ({"by": "mode"}, "there is no spending by 'mode', but by user, model, deployment, tag, day, provider"),
        ({"since": datetime(2026, 11, 1)}, "since is a date, or a datetime with a time zone"),  # noqa: DTZ001
        ({"until": datetime(2026, 11, 1)}, "until is a date"),  # noqa: DTZ001
        ({"by": 5}, "there is no spending by 5, but by user"),
        ({"by": None}, "there is no spending by None, but by user"),
        ({"by": [["user"]]}, r"there is no spending by \['user'\], but by user"),
        ({"since": "2026-11-01"}, "since is a date, or a datetime with a time zone"),
        ({"until": 5}, "until is a date"),
        ({"user": 5}, "user is a string, and not of type int"),
        ({"tag": {}}, "tag is a string, and not of type dict"),
        ({"model": ["m"]}, "model is a string, and not of type list"),
    ],
)
def test_questions_that_cannot_be_answered(db: Path, question: dict[str, Any], problem: str) -> None:
    with Ledger(db) as ledger, pytest.raises(BadRequestError, match=problem):
        ledger.spend(**question)


def test_odd_names_are_asked_as_they_are_kept(db: Path) -> None:
    odd = "a\0\ud800"
    with Ledger(db) as ledger:
        for name in (odd, "ann"):
            ledger(call(name, model_group=name, metadata={"tags": [name]}))
        questions: tuple[dict[str, Any], ...] = ({"user": odd}, {"tag": odd}, {"model": odd})
        for question in questions:
            (spend,) = ledger.spend((), **question)
            assert spend.calls == 1
            assert ledger.total(**question) == 0.002


ATTEMPTS = st.lists(
    st.builds(
        tried,
        st.sampled_from([COHERE, "cohere/rerank-v3", "voyage/rerank-2"]),
        cost=st.sampled_from([0.0, 0.25, 0.5, None]),
        error=st.sampled_from([None, None, "RateLimitError"]),
        status=st.sampled_from([200, 429]),
    ),
    min_size=1,
    max_size=4,
)
CALLS = st.lists(
    st.builds(
        call,
        st.sampled_from(["ann", "bob", None]),
        ATTEMPTS,
        metadata=st.builds(dict, tags=st.lists(st.sampled_from(["a", "b", "c"]), max_size=3)),
        started=st.sampled_from([NOON - DAY, NOON, NOON + DAY]),
        model_group=st.sampled_from([None, "best"]),
        response=st.just(answer([tried()], saved=0.125)),
    ),
    max_size=12,
)
GROUPS = ("user", "model", "deployment", "tag", "day", "provider")


def expected(events: Sequence[CallEvent], by: Sequence[str], only: dict[str, Any]) -> dict[tuple[Any, ...], Any]:
    """What `spend` should say, computed in another way: calls, requests, failures, cost and unknown of each group."""
    groups: dict[tuple[Any, ...], list[tuple[int, CallEvent, list[Any]]]] = defaultdict(list)
    for number, event in enumerate(events):
        tags = set(event.metadata["tags"])
        asked = event.model_group or COHERE
        if only.get("user") not in (None, event.user) or only.get("model") not in (None, asked):
            continue
        if only.get("tag") is not None and only["tag"] not in tags:
            continue
        day = date(2026, 11, 1) + timedelta(days=(event.started - NOON) // DAY)
        if not only["since"] <= day <= only["until"]:
            continue
        for deployment in {attempt.deployment for attempt in event.attempts}:
            tries = [attempt for attempt in event.attempts if attempt.deployment == deployment]
            for tag in (tags or {None}) if "tag" in by else {None}:
                known = {
                    "user": event.user,
                    "model": asked,
                    "deployment": deployment,
                    "tag": tag,
                    "day": day.isoformat(),
                    "provider": deployment.partition("/")[0],
                }
                groups[tuple(known[name] for name in by)].append((number, event, tries))
    found = {}
    for group, parts in groups.items():
        bills = [[attempt.cost for attempt in tries if attempt.status == 200] for _, _, tries in parts]
        priced = [sum(bill) for bill in bills if None not in bill]
        found[group] = (
            len({number for number, _, _ in parts}),
            sum(len(tries) for _, _, tries in parts),
            sum(attempt.error is not None for _, _, tries in parts for attempt in tries),
            sum(priced) if priced else None,
            len({number for (number, _, _), bill in zip(parts, bills, strict=True) if None in bill}),
        )
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=CALLS,
    by=st.lists(st.sampled_from(GROUPS), min_size=1, max_size=3, unique=True),
    only=st.fixed_dictionaries(
        {
            "user": st.sampled_from([None, "ann"]),
            "tag": st.sampled_from([None, "a"]),
            "model": st.sampled_from([None, "best"]),
            "since": st.sampled_from([date(2026, 10, 31), date(2026, 11, 1)]),
            "until": st.sampled_from([date(2026, 11, 1), date(2026, 11, 2)]),
        }
    ),
)
def test_spending_is_what_another_way_of_counting_finds(
    events: list[CallEvent], by: list[Any], only: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "spend.db", interval=NEVER) as ledger:
        for event in events:
            ledger(event)
        found = ledger.spend(by, **only)
        assert {
            tuple(spend.group.values()): (spend.calls, spend.requests, spend.failures, spend.cost, spend.unknown)
            for spend in found
        } == expected(events, by, only)
        costs = [-1.0 if spend.cost is None else spend.cost for spend in found]
        assert costs == sorted(costs, reverse=True)
        alone = expected(events, (), only).get((), (0, 0, 0, 0.0, 0))
        assert ledger.total(**only) == (alone[3] or 0.0)


def test_an_answer_of_a_router_s_cache_is_its_deployment_s(db: Path) -> None:
    entry = {"model_name": "r", "litellm_params": {"model": "cohere/rerank-v3.5", "api_key": KEY}}
    with Ledger(db) as ledger, httpx.Client(transport=httpx.MockTransport(Wire())) as client:
        router = Router(
            [{**entry, "model_info": {"id": "mine"}}], http_client=client, cache=MemoryCache(), hooks=[ledger]
        )
        for _ in range(2):
            router.rerank("r", QUERY, DOCUMENTS)
        (spend,) = ledger.spend(by="deployment")
    assert (spend.group, spend.calls, spend.requests, spend.saved) == ({"deployment": "mine"}, 2, 1, 0.002)
