"""What several processes share: budgets, rate limits and cooldowns, in Redis."""

from anyrerank.state.calls import Counted, RedisCalls
from anyrerank.state.news import Listener, News
from anyrerank.state.redis_state import RedisState

__all__ = ["Counted", "Listener", "News", "RedisCalls", "RedisState"]
