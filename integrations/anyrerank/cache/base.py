"""Where scores are kept, so that no pair of query and document is paid for twice.

MemoryCache    in this process (`pip install 'anyrerank[cache]'`)
SQLiteCache    in a file that several processes share (`anyrerank.sqlite_cache`)
Cache          what a store of one's own is a subclass of, for example one in Redis
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from anyrerank._core.runtime import is_number, needed, reset_in_child
from anyrerank._core.types import public
from anyrerank.errors import ConfigurationError

if TYPE_CHECKING:
    from cachetools import LRUCache


@public("anyrerank.cache")
class Cache(ABC):
    """Keeps values by key. A subclass may keep them anywhere, and owes this:

    - Its methods may be called by several threads at once.
    - A value that it returns for a key is, to the byte, one that was put under that very key. Keys are digests: two
      that are equal in part have nothing to do with each other.
    - It may lose any entry at any time. How long and how much it keeps is its own affair: nobody else removes entries.
    - It may raise any `Exception`: the caller goes on as if nothing were kept, and warns once. It should rather raise
      than wait for long, since a call waits for it.

    Keys are digests of 16 to 32 bytes; values are of 8 bytes to some 10 kB. Neither holds text.

    Attributes:
        blocking: Whether `get` and `put` wait for a disk or a network; if so, asynchronous calls run them in a thread.
        failed: Whether it was warned of; set by calls.
    """

    blocking: ClassVar[bool] = True
    failed: bool = False

    @abstractmethod
    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What is kept under `keys` and is not too old; a key that is not kept is left out."""

    @abstractmethod
    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep `entries` by key, in place of what was kept under the same keys."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:  # noqa: B027  most have nothing to let go of
        """Let go of files and connections; the cache is not used afterwards. May be called more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_OVERHEAD = 640
"""Bytes that an entry takes beside its key and its value, at most.

Measured with tracemalloc, CPython 3.11 and cachetools 8: 420 to 626, once old entries make room for new ones. Most of
it are three hash tables, which are up to six times as large as what is in them.
"""


@public("anyrerank.cache")
class MemoryCache(Cache):
    """Keeps values in this process; those that were not used for longest go first.

    A pickle or a copy has the same settings, and is empty. A forked child starts with what its parent had.

    Args:
        max_bytes: Most memory to use, what Python needs to find an entry included. A larger entry is not kept.
        ttl: Seconds for which an entry is good after it was put, or `None` for no limit. One that is too old is
            removed when it is asked for, or when there is no room for it.
        clock: Seconds of a clock that never goes back.

    Raises:
        ConfigurationError: `max_bytes` or `ttl` is no such number, or cachetools is not installed.
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
        # an entry is its value, its size and the time at which it is too old; a TTLCache would remove what is too old
        # when something is put, with the lock held: a tenth of a second for 100,000 entries
        self._kept: LRUCache[bytes, tuple[bytes, int, float]] = needed("cachetools", "cache").LRUCache(
            max_bytes, itemgetter(1)
        )
        self._lock = threading.Lock()
        reset_in_child(self, MemoryCache._reset)

    def _reset(self) -> None:
        if self._lock.locked():  # another thread was changing it during the fork
            self._kept.clear()
        self._lock = threading.Lock()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What is kept under `keys` and is not too old."""
        found = {}
        kept = self._kept
        with self._lock:
            now = self._clock()
            for key in keys:
                if key not in kept:
                    continue
                value, _, end = kept[key]
                if now < end:
                    found[key] = value
                else:
                    del kept[key]
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep `entries` by key; the last of them are the most recently used."""
        kept = self._kept
        with self._lock:
            end = math.inf if self.ttl is None else self._clock() + self.ttl
            for key, value in entries.items():
                size = _OVERHEAD + len(key) + len(value)
                if size <= self.max_bytes:
                    kept[key] = (value, size, end)
                else:
                    kept.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()

    def __repr__(self) -> str:
        return f"MemoryCache(max_bytes={self.max_bytes}, ttl={self.ttl})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (partial(type(self), self.max_bytes, self.ttl, clock=self._clock), ())


def checked_bytes(value: int) -> int:
    """A number of bytes, at least 1; anything else is a `ConfigurationError`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:  # type: ignore[redundant-expr]
        raise ConfigurationError("max_bytes, of a cache, is a whole number of bytes of at least 1")
    return value


def checked_ttl(value: float | None) -> float | None:
    """A number of seconds above 0, or `None`; anything else is a `ConfigurationError`."""
    if value is None:
        return None
    if not (is_number(value) and value > 0):
        raise ConfigurationError("ttl, of a cache, is a number of seconds above 0, or None for no limit")
    return value
