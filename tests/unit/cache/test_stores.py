"""What every store of the cache keeps, for how long, and who may share it."""

from __future__ import annotations

import copy
import pickle
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.clock import Clock
from tests.unit.cache.entries import TTL, key, numbered

from anyrerank import ConfigurationError
from anyrerank.cache import Cache, MemoryCache
from anyrerank.cache.sqlite import SQLiteCache


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
