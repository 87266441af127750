"""A cache in Redis over a fork."""

import asyncio

from tests.support.processes import forked, needs_fork

from anyrerank import RedisCache

ENTRIES = {b"key" * 6: b"value" * 2}


@needs_fork
def test_a_child_opens_connections_of_its_own(redis_url: str) -> None:
    cache = RedisCache(redis_url)
    cache.put(ENTRIES)
    assert cache.get(list(ENTRIES)) == ENTRIES
    assert forked(lambda: cache.get(list(ENTRIES)) == asyncio.run(cache.aget(list(ENTRIES))) == ENTRIES) == "True"
    assert cache.get(list(ENTRIES)) == ENTRIES
