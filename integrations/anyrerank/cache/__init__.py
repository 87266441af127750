"""Where scores are cached, so that no pair of query and document is paid for twice.

MemoryCache    in this process (`pip install 'anyrerank[cache]'`)
SQLiteCache    in a file that several processes share
Cache          the base class of a cache of your own, for example in Redis
"""

from anyrerank.cache.base import Cache
from anyrerank.cache.memory import MemoryCache
from anyrerank.cache.sqlite import SQLiteCache

__all__ = ["Cache", "MemoryCache", "SQLiteCache"]
