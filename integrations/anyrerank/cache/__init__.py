"""Where scores are cached, so that no pair of query and document is paid for twice.

MemoryCache    in this process (`pip install 'anyrerank[cache]'`)
SQLiteCache    in a file that several processes share
Cache          the base class of your own store, for example one in Redis
"""

from anyrerank.cache.base import Cache, MemoryCache
from anyrerank.cache.sqlite import SQLiteCache

__all__ = ["Cache", "MemoryCache", "SQLiteCache"]
