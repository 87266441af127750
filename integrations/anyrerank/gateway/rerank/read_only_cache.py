"""A cache for calls whose scores are not stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyrerank.cache import Cache


class ReadOnlyCache(Cache):
    """Finds what another cache has, and stores nothing.

    Args:
        cache: The other cache.
    """

    def __init__(self, cache: Cache) -> None:
        self.blocking = cache.blocking  # type: ignore[misc]  # that of the cache which it reads
        self.failed = cache.failed
        self._cache = cache

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What the other cache has."""
        return self._cache.get(keys)

    async def aget(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """`get`, in the way of the other cache."""
        return await self._cache.aget(keys)

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store nothing."""

    async def aput(self, entries: Mapping[bytes, bytes]) -> None:
        """Store nothing."""

    def clear(self) -> None:
        """Remove nothing."""
