"""What the stores of the cache keep, for how long, within what bounds, and who may share them."""

from __future__ import annotations

import copy
import gc
import hashlib
import os
import pickle
import random
import sqlite3
import struct
import sys
import tempfile
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.clock import Clock

from anyrerank import ConfigurationError
from anyrerank.cache import Cache, MemoryCache
from anyrerank.cache import sqlite as sqlite_cache
from anyrerank.cache.sqlite import SQLiteCache

TTL = 10
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def key(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def numbered(start: int, end: int, size: int = 12) -> dict[bytes, bytes]:
    """Entries in order, each with a value that tells whose it is."""
    return {key(number): key("value", number)[:12].ljust(size, b".") for number in range(start, end)}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Cache]]:
    """Makes a store, of each kind in turn, that goes by `clock`."""
    made: list[Cache] = []

    def one(**options: Any) -> Cache:
        options = {"clock": clock, **options}
        cache: Cache = (
            MemoryCache(**options) if request.param == "memory" else SQLiteCache(tmp_path / "scores.db", **options)
        )
        made.append(cache)
        return cache

    yield one
    for cache in made:
        cache.close()


KEYS = [key(number)[:size] for number, size in enumerate((16, 20, 24, 32, 32, 32))]
VALUES = st.binary(min_size=8, max_size=40)


class Model(RuleBasedStateMachine):
    """A store with room for everything gives back exactly what was put last and is not too old."""

    def make(self) -> Cache:
        return MemoryCache(ttl=TTL, clock=self.clock)

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.known: dict[bytes, tuple[bytes, float]] = {}
        self.folder = tempfile.TemporaryDirectory()
        self.cache = self.make()

    @rule(entries=st.dictionaries(st.sampled_from(KEYS), VALUES))
    def put(self, entries: dict[bytes, bytes]) -> None:
        self.cache.put(entries)
        self.known |= {name: (value, self.clock()) for name, value in entries.items()}

    @rule(keys=st.lists(st.sampled_from(KEYS)))
    def get(self, keys: list[bytes]) -> None:
        fresh = {name: value for name, (value, put) in self.known.items() if self.clock() - put < TTL}
        assert self.cache.get(keys) == {name: fresh[name] for name in keys if name in fresh}

    @rule(seconds=st.integers(1, TTL + 1))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.known.clear()

    @invariant()
    def all_is_as_known(self) -> None:
        self.get(KEYS)

    def teardown(self) -> None:
        self.cache.close()
        self.folder.cleanup()


class SQLiteModel(Model):
    """The same in a file, which may be closed and opened at any time."""

    def make(self) -> Cache:
        return SQLiteCache(Path(self.folder.name) / "scores.db", ttl=TTL, clock=self.clock)

    @rule()
    def reopen(self) -> None:
        self.cache.close()
        self.cache = self.make()


TestMemoryModel = Model.TestCase
TestSQLiteModel = SQLiteModel.TestCase
TestMemoryModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSQLiteModel.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize(
    ("ttl", "later", "there"),
    [
        (10, 0, True),
        (10, 9.5, True),
        (10, 10, False),
        (10, 11, False),
        (0.25, 0.125, True),
        (0.25, 0.25, False),
        (None, 10.0**9, True),
    ],
)
def test_an_entry_is_good_until_its_time_is_over(
    make: Callable[..., Cache], clock: Clock, ttl: float | None, later: float, there: bool
) -> None:
    cache, entries = make(ttl=ttl), numbered(0, 3)
    cache.put(entries)
    clock.now += later
    assert cache.get(list(entries)) == (entries if there else {})


def test_putting_makes_young_and_getting_does_not(make: Callable[..., Cache], clock: Clock) -> None:
    cache, (put_again, only_got) = make(ttl=TTL), numbered(0, 2).items()
    cache.put(dict([put_again, only_got]))
    clock.now += TTL - 1
    cache.put(dict([put_again]))
    assert cache.get([only_got[0]])
    clock.now += 1
    assert cache.get([put_again[0], only_got[0]]) == dict([put_again])


@pytest.mark.parametrize("number", [0, 1, 499, 500, 501, 2345])
def test_any_number_of_keys_at_once(make: Callable[..., Cache], number: int) -> None:
    cache, entries = make(), numbered(0, number)
    cache.put(entries)
    others = list(numbered(10_000, 10_000 + number))
    assert cache.get([*entries, *others, *list(entries)[:7]]) == entries


def test_an_entry_larger_than_the_bound_is_not_kept_and_costs_no_other(make: Callable[..., Cache]) -> None:
    cache, entries = make(max_bytes=40_000), numbered(0, 20)
    cache.put(entries)
    cache.put({key(0): b"x" * 40_000})
    assert cache.get(list(entries)) == {name: value for name, value in entries.items() if name != key(0)}


@pytest.mark.parametrize(
    "options",
    [{"max_bytes": value} for value in (0, -1, 1.5, "1", True, None)]
    + [{"ttl": value} for value in (0, -1, float("inf"), float("nan"), 10**400, "60", True)],
)
def test_bounds_that_are_none_are_refused(make: Callable[..., Cache], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(options))} must be a "):
        make(**options)


def test_the_least_bound_keeps_nothing(make: Callable[..., Cache]) -> None:
    cache = make(max_bytes=1)
    cache.put(numbered(0, 10))
    assert cache.get(list(numbered(0, 10))) == {}


@pytest.mark.parametrize("again", [lambda cache: pickle.loads(pickle.dumps(cache)), copy.deepcopy])  # noqa: S301
@pytest.mark.parametrize("options", [{}, {"ttl": None, "max_bytes": 123_456}])
def test_pickles_and_copies(
    make: Callable[..., Cache], again: Callable[[Cache], Cache], options: dict[str, Any]
) -> None:
    cache, entries = make(**options), numbered(0, 3)
    cache.put(entries)
    with again(cache) as other:
        assert type(other) is type(cache)
        assert repr(other) == repr(cache)
        assert other.get(list(entries)) == (entries if isinstance(cache, SQLiteCache) else {})
        other.put(numbered(3, 4))
        assert other.get(list(numbered(3, 4))) == numbered(3, 4)


def test_threads_share_a_store(make: Callable[..., Cache]) -> None:
    cache, everything = make(max_bytes=60_000), numbered(0, 400)

    def work(seed: int) -> int:
        chance, wrong = random.Random(seed), 0
        for _ in range(60):
            some = dict(chance.sample(list(everything.items()), 40))
            match chance.choices(["get", "put", "clear"], [10, 10, 1]):
                case ["get"]:
                    found = cache.get(list(some))
                    wrong += not found.items() <= some.items()
                case ["put"]:
                    cache.put(some)
                case _:
                    cache.clear()
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 0
    cache.put(dict(list(everything.items())[:10]))
    assert len(cache.get(list(everything)[:10])) == 10


def test_a_store_of_ones_own_needs_three_methods() -> None:
    class Own(Cache):
        def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
            return {}

        def put(self, entries: Mapping[bytes, bytes]) -> None:
            pass

        def clear(self) -> None:
            pass

    with Own() as own:
        assert own.blocking
    assert not MemoryCache.blocking
    assert SQLiteCache.blocking


# in memory


def test_a_missing_cachetools_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cachetools", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'anyrerank\[cache\]'"):
        MemoryCache()


def test_the_repr_of_a_memory_cache_shows_its_settings_alone() -> None:
    cache = MemoryCache(max_bytes=1000, ttl=5)
    cache.put(numbered(0, 1))
    assert repr(cache) == "MemoryCache(max_bytes=1000, ttl=5)"


STEPS = st.lists(st.tuples(st.sampled_from(["get", "put"]), st.lists(st.integers(0, 29), max_size=8)), max_size=40)


@given(steps=STEPS)
def test_those_used_last_are_in_memory(steps: list[tuple[str, list[int]]]) -> None:
    cache, entries = MemoryCache(max_bytes=7000), numbered(0, 30)
    cache.put(entries)
    room = len(cache.get(list(entries)))
    assert 5 < room < 20
    used = OrderedDict.fromkeys(list(entries)[-room:])
    for step, numbers in steps:
        keys = [key(number) for number in numbers]
        if step == "put":
            cache.put({name: entries[name] for name in keys})
        else:
            cache.get(keys)
        for name in dict.fromkeys(keys) if step == "put" else keys:
            if step == "put" or name in used:
                used[name] = None
                used.move_to_end(name)
            while len(used) > room:
                used.popitem(last=False)
    assert cache.get(list(entries)).keys() == used.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "bound", [12_000_000, 14_900_000]
)  # the hash tables are fullest at the one, emptiest at the other
def test_memory_stays_within_its_bound(bound: int) -> None:
    MemoryCache()  # what it imports is not what it keeps
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        cache = MemoryCache(max_bytes=bound, ttl=60)
        for number in range(100_000):
            cache.put({number.to_bytes(32, "big"): number.to_bytes(8, "big")})
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.6 * bound < taken <= bound
    assert cache.get([(99_999).to_bytes(32, "big")])


# in a file


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
