"""Reading from a cache in Redis on a busy machine, where a connection may take longer than a call waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from anyrerank import RedisCache
from anyrerank._core.redis import RedisUnavailableError

_SECONDS = 20.0


async def afetched(cache: RedisCache, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """What is cached, as soon as the server has answered on the running event loop."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return await cache.aget(keys)
        except RedisUnavailableError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0)


def fetched(cache: RedisCache, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """`afetched`, synchronously."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return cache.get(keys)
        except RedisUnavailableError:
            assert time.monotonic() < deadline
