"""From the spool to the database: every call, once, whoever left it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.ledger_worker import (
    FAILED,
    NEVER,
    abandoned,
    answer,
    call,
    read,
    spooled,
    tried,
    users,
    wait_for_threads,
)

from anyrerank.ledger import Ledger

URLS = pytest.mark.parametrize("url", ["{}", "server:///{}"], ids=["file", "server"])
TOO_LARGE = {"cached": 2**63, "saved": 0.0}
GARBAGE = [b"\n", b"\0\0\0\0", b"\xff\n["]


def ledger_on(db: Path, url: str) -> Ledger:
    return Ledger(url.format(db), spool=db.with_name(f"{db.name}-spool"), interval=NEVER)


@URLS
def test_call_is_in_the_spool_until_it_is_in_the_database(db: Path, url: str) -> None:
    with ledger_on(db, url) as ledger:
        ledger(call("ann"))
        assert read(db) == []
        assert len(spooled(db)) == 1
        ledger.flush()
        assert users(db) == ["ann"]
        assert spooled(db) == []
        ledger(call("bob"))
    assert users(db) == ["ann", "bob"]
    assert spooled(db) == []


def test_thread_copies_calls_in_the_background(db: Path) -> None:
    with Ledger(db, interval=0.001) as ledger:
        for name in ("ann", "bob"):
            ledger(call(name))
            wait_for_threads()
            assert name in users(db)
        ledger(call("eve"))
    assert users(db) == ["ann", "bob", "eve"]


@URLS
def test_more_calls_than_one_transaction_takes_are_copied(db: Path, url: str) -> None:
    with ledger_on(db, url) as ledger:
        for index in range(2_345):
            ledger(call(f"u-{index}", metadata={"tags": ["a", "b"]}))
    assert len(set(users(db))) == len(read(db)) == 2_345
    assert len(read(db, "anyrerank_tags")) == 4_690


@URLS
def test_abandoned_calls_are_copied_once(db: Path, url: str, warnings: Callable[[], list[str]]) -> None:
    file = abandoned(db, *(call(f"u-{index}", metadata={"tags": ["rag"]}) for index in range(120)))
    before, content = len(warnings()), file.read_bytes()
    for part in (content[: len(content) // 2], content, content):
        file.write_bytes(part)
        ledger_on(db, url).close()
    assert len(set(users(db))) == len(read(db)) == 120
    assert len(read(db, "anyrerank_tags")) == 120
    assert spooled(db) == []
    assert len(warnings()) == before


def test_new_ledger_copies_abandoned_calls(db: Path) -> None:
    abandoned(db, call("ann"))
    ledger = Ledger(db, interval=NEVER)
    assert users(db) == ["ann"]
    ledger.close()


def test_open_ledger_copies_abandoned_calls(db: Path) -> None:
    file = abandoned(db, *(call(str(index)) for index in range(3)))
    lines = file.read_bytes().split(b"\n")[1:]
    file.unlink()
    with Ledger(db, interval=NEVER) as ledger:
        for index, line in enumerate(lines):
            file.with_name(f"{index}{file.name}").write_bytes(b"\n" + line)
        (spend,) = ledger.spend(())
        assert spend.calls == 3
        assert spooled(db) == []


def test_calls_of_an_open_ledger_are_left_to_it(db: Path) -> None:
    with Ledger(db, interval=NEVER) as ledger:
        ledger(call("ann"))
        Ledger(db).close()
        assert read(db) == []
        assert len(spooled(db)) == 1
    assert users(db) == ["ann"]


@pytest.mark.parametrize("length", [1, 30, -20, -1])
def test_line_that_was_cut_short_is_skipped(db: Path, length: int) -> None:
    file = abandoned(db, call("ann"), call("bob"))
    first, last = file.read_bytes().rsplit(b"\n", 1)
    file.write_bytes(first + b"\n" + last[:length])
    Ledger(db).close()
    assert users(db) == ["ann"]
    assert spooled(db) == []


def test_line_after_one_that_was_cut_short_is_copied(db: Path) -> None:
    file = abandoned(db, call("ann"), call("bob"))
    first, last = file.read_bytes().rsplit(b"\n", 1)
    file.write_bytes(first[:-9] + b"\n" + last)
    Ledger(db).close()
    assert users(db) == ["bob"]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_damaged_lines_are_skipped(db: Path, garbage: bytes) -> None:
    file = abandoned(db, call("ann"))
    file.write_bytes(garbage + file.read_bytes() + b"\n" + garbage)
    Ledger(db).close()
    assert users(db) == ["ann"]
    assert spooled(db) == []


def test_other_files_in_the_folder_of_the_spool_are_left_alone(db: Path) -> None:
    (db.parent / "dataset.jsonl").write_text('{"text": "my only copy"}\n')
    with Ledger(db, spool=db.parent) as ledger:
        ledger(call("ann"))
    assert sorted(path.name for path in db.parent.iterdir()) == ["dataset.jsonl", "spend.db"]
    assert (db.parent / "dataset.jsonl").read_text() == '{"text": "my only copy"}\n'


def test_spool_may_be_elsewhere(db: Path) -> None:
    elsewhere = db.parent / "on" / "another" / "disk"
    with Ledger(db, spool=elsewhere, interval=NEVER) as ledger:
        ledger(call("ann"))
        assert len(list(elsewhere.iterdir())) == 1
    assert users(db) == ["ann"]
    assert not db.with_name(f"{db.name}-spool").exists()


def test_deleted_spool_is_created_again(db: Path) -> None:
    with Ledger(db, interval=NEVER) as ledger:
        db.with_name(f"{db.name}-spool").rmdir()
        ledger(call("ann"))
    assert users(db) == ["ann"]


@URLS
def test_refused_call_is_skipped_and_logged_without_stopping_others(
    db: Path, url: str, warnings: Callable[[], list[str]]
) -> None:
    events = [call(f"u-{index}", metadata={"tags": [f"t-{index}"]}) for index in range(70)]
    attempts = [tried(**FAILED), tried("voyage/rerank-2")]
    events[33] = call("bad", attempts, response=answer(attempts[1:], **TOO_LARGE), metadata={"tags": ["bad"]})
    with ledger_on(db, url) as ledger:
        for event in events:
            ledger(event)
    assert users(db) == sorted(f"u-{index}" for index in range(70) if index != 33)
    assert len(read(db, "anyrerank_tags")) == 69
    assert spooled(db) == []
    (warning,) = warnings()
    assert "refused" in warning
    assert "OverflowError" in warning


def test_tables_are_readable_while_the_ledger_is_open(db: Path) -> None:
    with Ledger(db, interval=NEVER) as ledger, closing(sqlite3.connect(db)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM anyrerank_calls").fetchone() == (0,)
        ledger(call("ann"))
        ledger.flush()
        assert reader.execute("SELECT count(*) FROM anyrerank_calls").fetchone() == (0,)
    assert users(db) == ["ann"]
