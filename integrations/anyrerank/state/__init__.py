"""What several processes share: budgets, rate limits and cooldowns, in Redis."""

from anyrerank.state.redis_state import RedisState

__all__ = ["RedisState"]
