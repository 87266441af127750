"""A cache that is shared by all callers, seen by one of them: it finds only what this one has stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from weakref import WeakValueDictionary

from anyrerank._core.client import Router
from anyrerank.cache import Cache
from anyrerank.gateway.settings import GatewaySettings


class Isolation:
    """The parts of a cache that belong to each caller.

    Args:
        cache: The cache of the router.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._parts: WeakValueDictionary[str, IsolatedCache] = WeakValueDictionary()

    def of(self, owner: str) -> Cache:
        """The part of a caller: the same object while calls use it, so that identical ones are sent once."""
        return self._parts.setdefault(owner, IsolatedCache(self._cache, owner))


def isolation_of(router: Router, settings: GatewaySettings) -> Isolation | None:
    """The parts of the cache of a router, if there is one and the settings want parts."""
    cache = router.options.cache
    return Isolation(cache) if settings.cache_isolation and cache is not None else None


class IsolatedCache(Cache):
    """The part of a cache that belongs to one caller."""

    def __init__(self, cache: Cache, owner: str) -> None:
        self.blocking = cache.blocking  # type: ignore[misc]  # that of the cache which it is a part of
        self._cache = cache
        self._owner = owner.encode("utf-8", "surrogatepass")[:64]

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values that this caller stored."""
        own = {self._own(key): key for key in keys}
        return {own[key]: value for key, value in self._cache.get(list(own)).items()}

    async def aget(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """`get`, in the way of the shared cache."""
        own = {self._own(key): key for key in keys}
        return {own[key]: value for key, value in (await self._cache.aget(list(own))).items()}

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store values for this caller."""
        self._cache.put({self._own(key): value for key, value in entries.items()})

    async def aput(self, entries: Mapping[bytes, bytes]) -> None:
        """`put`, in the way of the shared cache."""
        await self._cache.aput({self._own(key): value for key, value in entries.items()})

    def clear(self) -> None:
        """Remove the entries of all callers: a cache cannot tell them apart."""
        self._cache.clear()

    def _own(self, key: bytes) -> bytes:
        return blake2b(key, digest_size=32, key=self._owner).digest()
