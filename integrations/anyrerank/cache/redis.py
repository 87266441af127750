"""`RedisCache`: a cache in a Redis server that several machines share."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from typing_extensions import Self

from anyrerank._core.redis import Command, RedisLink, RedisUnavailableError, Script
from anyrerank._core.runtime import resolved
from anyrerank._core.types import public
from anyrerank.cache.base import Cache, checked_ttl
from anyrerank.errors import ConfigurationError, StateUnavailableError

_FETCH = Script("anyrerank.cache.scripts", "fetch")
_STORE = Script("anyrerank.cache.scripts", "store")
_SECONDS = 0.05
"""Seconds that a call waits for the server."""
_CHECKSUM_BYTES = 4
_GLOB = re.compile(rb"([*?\[\]\\])")


@public("anyrerank.cache")
class RedisCache(Cache):
    """Stores values in Redis (6.2 or later) or Valkey, for any number of processes and machines.

        Reranker("cohere/rerank-v3.5", cache=RedisCache("os.environ/REDIS_URL"))

    A call waits at most 50 ms for the server. Asynchronous calls do not wait for entries to be stored. While the server
    is unreachable or slow, calls continue without it, and their scores are not cached. A value that another program
    wrote or that is damaged counts as not cached. The server may evict entries: set its `maxmemory-policy` to
    `allkeys-lru`, unless a `RedisState` uses the same server. An entry takes about 200 bytes.

    Thread-safe; usable from any number of event loops, and after a fork. Nothing is connected before the first use. A
    pickle or a copy connects anew to the same server; write the URL as `os.environ/NAME`, so that a pickle holds no
    password.

    Args:
        url: `redis://user:password@host:port/number`, `rediss://` for TLS, `unix://path`, or `os.environ/NAME`.
        ttl: Seconds until an entry expires, or `None` for no limit.
        prefix: Prefix of all keys, as `prefix:score:`. Caches with the same prefix share their entries.

    Raises:
        ConfigurationError: The URL, `ttl` or `prefix` is invalid, or the variable is not set.
        MissingExtraError: The client library is not installed.
    """

    blocking = True

    def __init__(self, url: str, *, ttl: float | None = 7 * 86400.0, prefix: str = "anyrerank") -> None:
        if not (isinstance(prefix, str) and prefix):  # type: ignore[redundant-expr]
            raise ConfigurationError(f"prefix must be a string that is not empty, got {prefix!r}")
        self.ttl = checked_ttl(ttl)
        self.prefix = prefix
        self._url = url
        self._start = f"{prefix}:score:".encode()
        self._milliseconds = 0 if ttl is None else max(1, round(ttl * 1000))
        link = partial(RedisLink, resolved(url, "url"), timeout=_SECONDS, connect_timeout=_SECONDS, backlog=0)
        self._reading = (link(), link())  # alternating, so that some calls proceed while others wait for the server
        self._writing = link()  # so that no look-up waits for entries of other calls to be stored
        self._turn = 0

    def __repr__(self) -> str:
        return f"RedisCache({self._writing.shown!r}, ttl={self.ttl}, prefix={self.prefix!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_made, (type(self), self._url, self.ttl, self.prefix))

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those `keys` that are cached and not expired."""
        return _valid(keys, self._reading[0].call(self._fetching(keys))) if keys else {}

    async def aget(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """`get`, on the running event loop; commands of concurrent calls share a round trip."""
        if not keys:
            return {}
        self._turn = 1 - self._turn
        return _valid(keys, await self._reading[self._turn].acall(self._fetching(keys)))

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store `entries` by key, unless the server is unreachable."""
        if entries:
            self._writing.post(self._storing(entries))

    async def aput(self, entries: Mapping[bytes, bytes]) -> None:
        """`put`, which returns before the entries are stored."""
        if entries:
            await self._writing.apost(self._storing(entries))

    def check(self) -> None:
        """Raise if nothing can be stored. It may block for a few seconds.

        Raises:
            StateUnavailableError: The server cannot be reached, refuses the password, or takes no values.
        """
        try:
            self._writing.call_slowly(("SET", self._start + b"check", b"", "PX", 1))
        except RedisUnavailableError as error:
            raise StateUnavailableError(
                f"{error}, so no scores are cached; check the URL, and that the server runs"
            ) from None

    def clear(self) -> None:
        """Remove all entries with this prefix; it may take seconds.

        Raises:
            StateUnavailableError: The server cannot be used; some entries may be removed.
        """
        try:
            self._writing.unlink(_GLOB.sub(rb"\\\1", self._start) + b"*")
        except RedisUnavailableError as error:
            raise StateUnavailableError(f"{error}, so the cache cannot be cleared; try again") from None

    def close(self) -> None:
        """Close the connections of synchronous calls; the next call opens new ones."""
        for link in (*self._reading, self._writing):
            link.close()

    async def aclose(self) -> None:
        """Store what is left on the running event loop, and close its connections and those of synchronous calls."""
        for link in (*self._reading, self._writing):
            await link.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def _fetching(self, keys: Sequence[bytes]) -> Command:
        return _FETCH.command([], [self._start, _packed(keys)])

    def _storing(self, entries: Mapping[bytes, bytes]) -> Command:
        parts = [part for key, value in entries.items() for part in (key, _checksum(key, value) + value)]
        return _STORE.command([], [self._start, self._milliseconds, _packed(parts)])


def _made(kind: type[RedisCache], url: str, ttl: float | None, prefix: str) -> RedisCache:
    return kind(url, ttl=ttl, prefix=prefix)


def _packed(parts: Sequence[bytes]) -> bytes:
    """A MessagePack array of strings."""
    return b"".join([b"\xdd", len(parts).to_bytes(4, "big"), *[_head(len(part)) + part for part in parts]])


@lru_cache(1024)
def _head(size: int) -> bytes:
    """The header of a string of `size` bytes in MessagePack."""
    return b"\xdb" + size.to_bytes(4, "big")


def _valid(keys: Sequence[bytes], values: Sequence[bytes | None]) -> dict[bytes, bytes]:
    """The values that were stored under these keys, without those that are missing, damaged or foreign."""
    found = {}
    for key, stored in zip(keys, values, strict=True):
        if stored is not None:
            value = stored[_CHECKSUM_BYTES:]
            if stored[:_CHECKSUM_BYTES] == _checksum(key, value):
                found[key] = value
    return found


def _checksum(key: bytes, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "little")
