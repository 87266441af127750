"""`MemoryCache`: a cache in this process."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from anyrerank._core.runtime import import_optional, reset_in_child
from anyrerank._core.types import public
from anyrerank.cache.base import Cache, checked_bytes, checked_ttl

if TYPE_CHECKING:
    from cachetools import LRUCache

_OVERHEAD = 640
"""Upper bound in bytes of the memory of an entry, without its key and its value.

Measured with tracemalloc, CPython 3.11 and cachetools 8: 420 to 626 once the cache is full. Most of it are three hash
tables, which are up to six times as large as their contents.
"""


@public("anyrerank.cache")
class MemoryCache(Cache):
    """Stores values in this process, and removes the least recently used if there are too many.

    A pickle or a copy has the same settings and is empty. A forked child starts with the entries of its parent, unless
    another thread was changing them during the fork.

    Args:
        max_bytes: Maximum memory, with the overhead of Python's tables. A larger entry is not stored.
        ttl: Seconds until an entry expires, or `None` for no limit. An expired entry is removed when it is looked up,
            or when its space is needed.
        clock: Returns the seconds of a monotonic clock.

    Raises:
        ConfigurationError: `max_bytes` or `ttl` is invalid, or cachetools is not installed.
    """

    blocking = False

    def __init__(
        self,
        max_bytes: int = 64 * 2**20,
        ttl: float | None = 3600.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_bytes = checked_bytes(max_bytes)
        self.ttl = checked_ttl(ttl)
        self._clock = clock
        # An entry is its value, its size and when it expires. A TTLCache would remove expired entries in `put`, with
        # the lock held: a tenth of a second for 100,000 entries.
        self._entries: LRUCache[bytes, tuple[bytes, int, float]] = import_optional("cachetools", "cache").LRUCache(
            max_bytes, itemgetter(1)
        )
        self._lock = threading.Lock()
        reset_in_child(self, MemoryCache._reset)

    def _reset(self) -> None:
        if self._lock.locked():  # another thread was changing the entries during the fork
            self._entries.clear()
        self._lock = threading.Lock()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those `keys` that are cached and not expired."""
        found = {}
        entries = self._entries
        with self._lock:
            now = self._clock()
            for key in keys:
                if key not in entries:
                    continue
                value, _, end = entries[key]
                if now < end:
                    found[key] = value
                else:
                    del entries[key]
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store `entries` by key; the last of them are the most recently used."""
        stored = self._entries
        with self._lock:
            end = math.inf if self.ttl is None else self._clock() + self.ttl
            for key, value in entries.items():
                size = _OVERHEAD + len(key) + len(value)
                if size <= self.max_bytes:
                    stored[key] = (value, size, end)
                else:
                    stored.pop(key, None)

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()

    def __repr__(self) -> str:
        return f"MemoryCache(max_bytes={self.max_bytes}, ttl={self.ttl})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (partial(type(self), self.max_bytes, self.ttl, clock=self._clock), ())
