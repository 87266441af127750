"""The store in a file."""

from __future__ import annotations

import copy
import hashlib
import os
import sqlite3
import struct
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.unit.cache.entries import TTL, key, numbered

from anyrerank import ConfigurationError
from anyrerank.cache import sqlite as sqlite_cache
from anyrerank.cache.sqlite import SQLiteCache


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.db"


def _write(statements: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(statements)

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_text("a shopping list\n" * 99), "is not an SQLite database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"\1" * 5000), "is not an SQLite database"),
        (_write("CREATE TABLE scores (key, value)"), "another program"),
        (_write("PRAGMA application_id = 7"), "another program"),
        (_write("PRAGMA application_id = 7; PRAGMA journal_mode = WAL; CREATE TABLE a (b)"), "another program"),
        (_write("PRAGMA auto_vacuum = INCREMENTAL; CREATE TABLE a (b)"), "another program"),
        (_write("PRAGMA user_version = 1; CREATE TABLE a (b)"), "another program"),
        (_write(f"PRAGMA application_id = {0x61795273}; PRAGMA user_version = 2"), r"another version .* remove this"),
        (Path.mkdir, "is a folder"),
    ],
)
def test_what_is_no_cache_is_refused_and_left_as_it_is(path: Path, write: Callable[[Path], object], said: str) -> None:
    write(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ConfigurationError, match=said) as caught:
        SQLiteCache(path)
    assert str(path) in str(caught.value)
    assert [child.name for child in path.parent.iterdir()] == [path.name]
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("folder", ["missing", "a-file"])
def test_a_folder_that_is_none_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(ConfigurationError, match=r"scores\.db cannot be opened: its folder does not exist"):
        SQLiteCache(tmp_path / folder / "scores.db")
    assert not (tmp_path / "missing").exists()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="modes bind neither Windows nor root")
def test_a_file_that_cannot_be_written_is_refused(path: Path) -> None:
    SQLiteCache(path).close()
    path.chmod(0o444)
    with pytest.raises(ConfigurationError, match=r"cannot be opened: .* must be writable"):
        SQLiteCache(path)


def test_a_file_that_is_locked_for_a_moment_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = iter([sqlite3.OperationalError("database is locked")] * 2)
    attempted = sqlite_cache._attempted

    def attempt(path: Path) -> sqlite3.Connection:
        for error in attempts:
            raise error
        return attempted(path)

    monkeypatch.setattr(sqlite_cache, "_attempted", attempt)
    with SQLiteCache(path) as cache:
        cache.put(numbered(0, 1))


def test_a_file_that_stays_locked_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_cache, "_BUSY", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigurationError, match="another process has locked it"):
            SQLiteCache(path)


class Bytes:
    def __fspath__(self) -> bytes:
        return b"scores.db"


@pytest.mark.parametrize("named", [None, 5, b"scores.db", Bytes(), "a\0.db", Path("a\0.db"), "\ud800.db"])
def test_what_names_no_file_is_refused(named: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^the path of a SQLiteCache "):
        SQLiteCache(named)
    assert list(tmp_path.iterdir()) == []


def test_memory_is_no_file() -> None:
    with pytest.raises(ConfigurationError, match="use MemoryCache"):
        SQLiteCache(":memory:")


def test_an_empty_file_becomes_a_cache(path: Path) -> None:
    path.touch()
    with SQLiteCache(path) as cache:
        cache.put(numbered(0, 5))
        assert cache.get(list(numbered(0, 5))) == numbered(0, 5)


def test_a_name_is_of_the_folder_in_which_the_cache_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with SQLiteCache("scores.db") as cache:
        cache.put(numbered(0, 5))
        monkeypatch.chdir("elsewhere")
        with copy.copy(cache) as other:
            assert other.get(list(numbered(0, 5))) == numbered(0, 5)


def test_a_closed_cache_says_so(path: Path) -> None:
    with SQLiteCache(path) as cache:
        pass
    cache.close()
    for use in (lambda: cache.get([key(0)]), lambda: cache.put(numbered(0, 1)), cache.clear):
        with pytest.raises(ConfigurationError, match=r"scores\.db is closed"):
            use()


def test_the_repr_of_a_sqlite_cache_shows_its_path_and_settings(path: Path) -> None:
    with SQLiteCache(path, ttl=5, max_bytes=100_000) as cache:
        cache.put(numbered(0, 1))
        assert repr(cache) == f"SQLiteCache({str(path)!r}, ttl=5, max_bytes=100000)"


PUTS = st.lists(st.lists(st.sampled_from([8, 12, 300, 5000]), min_size=1, max_size=60), max_size=25)


@settings(max_examples=30, deadline=None)
@given(puts=PUTS, bound=st.integers(40_000, 120_000))
def test_the_file_stays_within_its_bound_and_keeps_what_was_written_last(puts: list[list[int]], bound: int) -> None:
    written: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.db"
        for sizes in puts:
            with SQLiteCache(path, max_bytes=bound) as cache:
                entries = {key(len(written) + place): b"." * size for place, size in enumerate(sizes)}
                cache.put(entries)
                written += entries
                kept = cache.get(written)
            assert path.stat().st_size <= bound
            assert [name for name in written if name in kept] == written[len(written) - len(kept) :]
            one_more = max(map(max, puts))  # values come and go as a whole
            assert sum(map(len, kept.values())) + one_more > bound / 5 or len(kept) == len(written) or max(sizes) < 300


def test_a_full_file_holds_about_as_much_as_it_may(path: Path) -> None:
    bound = 500_000
    with SQLiteCache(path, max_bytes=bound) as cache:
        for start in range(0, 10_000, 100):
            cache.put(numbered(start, start + 100))
        assert len(cache.get(list(numbered(0, 10_000)))) > bound / 200
        assert len(cache.get(list(numbered(7_500, 10_000)))) == 2_500
    assert 0.9 * bound < path.stat().st_size <= bound


def test_what_is_too_old_makes_room(path: Path, clock: Clock) -> None:
    with SQLiteCache(path, ttl=TTL, clock=clock) as cache:
        cache.put(numbered(0, 500, size=1000))
    full = path.stat().st_size
    clock.now += TTL
    with SQLiteCache(path, ttl=TTL, clock=clock) as cache:
        cache.put(numbered(500, 501))
    assert path.stat().st_size < full / 5


def test_clearing_gives_the_room_back_at_once(path: Path) -> None:
    with SQLiteCache(path) as cache:
        cache.put(numbered(0, 500, size=1000))
        cache.clear()
        assert sum(child.stat().st_size for child in path.parent.iterdir() if child.suffix != ".db-shm") < 50_000


@pytest.mark.skipif(sys.version_info < (3, 11), reason="has no limits to set")
def test_more_keys_than_a_statement_of_an_older_sqlite_may_have(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def limited(*arguments: Any, **options: Any) -> Any:
        connection: Any = connect(*arguments, **options)
        connection.setlimit(9, 999)  # SQLITE_LIMIT_VARIABLE_NUMBER, which Python 3.10 does not know
        return connection

    monkeypatch.setattr(sqlite3, "connect", limited)
    with SQLiteCache(path) as cache:
        cache.put(numbered(0, 2000))
        assert cache.get(list(numbered(0, 3000))) == numbered(0, 2000)


def test_an_entry_of_the_future_is_not_good_yet(path: Path, clock: Clock) -> None:
    with SQLiteCache(path, clock=clock) as cache:
        cache.put(numbered(0, 1))
        clock.now -= 1
        assert cache.get(list(numbered(0, 1))) == {}
        clock.now += 1
        assert cache.get(list(numbered(0, 1))) == numbered(0, 1)


def test_reading_writes_nothing(path: Path) -> None:
    with SQLiteCache(path) as cache, closing(sqlite3.connect(path)) as observer:
        cache.put(numbered(0, 100))

        def version() -> int:
            (number,) = observer.execute("PRAGMA data_version").fetchone()
            return int(number)

        before = version()
        cache.get(list(numbered(0, 200)))
        assert version() == before
        cache.put(numbered(0, 1))
        assert version() != before


def test_a_put_is_kept_as_a_whole_or_not_at_all(path: Path) -> None:
    broken: Any = numbered(0, 5) | {key("broken"): ["no bytes"]}
    with SQLiteCache(path) as cache:
        cache.put(dict.fromkeys(numbered(0, 3), b"as it was"))
        with pytest.raises(sqlite3.Error):
            cache.put(broken)
        assert cache.get(list(broken)) == dict.fromkeys(numbered(0, 3), b"as it was")
        cache.put(numbered(0, 5))
        assert cache.get(list(broken)) == numbered(0, 5)


def test_a_process_that_writes_for_long_stops_writers_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_cache, "_BUSY", 0.05)
    with SQLiteCache(path) as cache, closing(sqlite3.connect(path, isolation_level=None)) as other:
        cache.put(numbered(0, 5))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            cache.put(numbered(5, 6))
        assert cache.get(list(numbered(0, 6))) == numbered(0, 5)
        other.execute("ROLLBACK")
        cache.put(numbered(5, 6))
        assert cache.get(list(numbered(0, 6))) == numbered(0, 6)


def test_nothing_but_digests_and_numbers_is_in_the_file(path: Path) -> None:
    secret = "when does Nightjar start?"
    with SQLiteCache(path) as cache:
        cache.put({hashlib.sha256(secret.encode()).digest(): struct.pack("<d", 0.5)})
    with closing(sqlite3.connect(path)) as connection:
        ((number, name, value, written),) = connection.execute("SELECT * FROM scores")
    assert (type(number), type(written)) == (int, float)
    assert (name, value) == (hashlib.sha256(secret.encode()).digest(), struct.pack("<d", 0.5))
    assert b"Nightjar" not in path.read_bytes()
