"""What tells a shared state from others."""

from __future__ import annotations

from typing import Any

from redis import Redis

from anyrerank._core.redis import Command
from anyrerank.state import RedisState


def test_name_that_is_lost_while_it_is_read_is_drawn_again(redis_url: str) -> None:
    with RedisState(redis_url) as state, RedisState(redis_url) as other, Redis.from_url(redis_url) as client:
        send, seen = state.link.call_slowly, list[Any]()

        def lose_the_first(command: Command) -> Any:
            reply = send(command)
            if command[0] == "SET" and not seen:
                seen.append(client.flushdb())
            return reply

        state.link.call_slowly = lose_the_first  # type: ignore[method-assign]
        name = state.identity.read()
        assert seen
        assert other.identity.read() == name
