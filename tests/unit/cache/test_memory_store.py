"""The store in memory."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cache.entries import key, numbered

from anyrerank import ConfigurationError
from anyrerank.cache import MemoryCache


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
