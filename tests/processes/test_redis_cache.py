"""A cache in Redis over a fork."""

import asyncio

from tests.support.processes import forked, needs_fork
from tests.support.redis_cache import afetched, fetched

from anyrerank import RedisCache

ENTRIES = {b"key" * 6: b"value" * 2}


@needs_fork
def test_a_child_opens_connections_of_its_own(redis_url: str) -> None:
    cache = RedisCache(redis_url)
    keys = list(ENTRIES)
    fetched(cache, keys)
    cache.put(ENTRIES)
    assert fetched(cache, keys) == ENTRIES
    assert forked(lambda: fetched(cache, keys) == asyncio.run(afetched(cache, keys)) == ENTRIES) == "True"
    assert fetched(cache, keys) == ENTRIES
