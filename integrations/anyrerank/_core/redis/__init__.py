"""Commands to a Redis server: synchronous, asynchronous, and without waiting for the reply."""

from anyrerank._core.redis.link import RedisLink
from anyrerank._core.redis.script import Command, Script, in_full
from anyrerank._core.redis.subscriber import Subscriber
from anyrerank._core.redis.unavailable import RedisUnavailableError

__all__ = ["Command", "RedisLink", "RedisUnavailableError", "Script", "Subscriber", "in_full"]
