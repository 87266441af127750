"""Where scores are cached, so that no pair of query and document is paid for twice.

MemoryCache    in this process (`pip install 'anyrerank[cache]'`)
SQLiteCache    in a file that the processes of one machine share
RedisCache     in a Redis server that several machines share (`pip install 'anyrerank[redis]'`)
Cache          the base class of a cache of your own
"""

from anyrerank.cache.base import Cache
from anyrerank.cache.memory import MemoryCache
from anyrerank.cache.redis import RedisCache
from anyrerank.cache.sqlite import SQLiteCache

__all__ = ["Cache", "MemoryCache", "RedisCache", "SQLiteCache"]
