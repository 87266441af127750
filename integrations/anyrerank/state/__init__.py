"""State that several processes share in Redis: budgets, rate limits and cooldowns."""

from anyrerank.state.calls import Counted, RedisCalls
from anyrerank.state.notifications import Listener, Notifications
from anyrerank.state.presence import Presence
from anyrerank.state.redis_state import RedisState

__all__ = ["Counted", "Listener", "Notifications", "Presence", "RedisCalls", "RedisState"]
