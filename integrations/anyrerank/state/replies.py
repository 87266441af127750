"""Commands to Redis as effects of a flow."""

from __future__ import annotations

from functools import partial
from typing import Any

from anyrerank._core.redis import Command, RedisLink, RedisUnavailableError
from anyrerank._core.runtime import Flow, Invoke, Sleep
from anyrerank.state.notifications import Notifications

LOST = b"lost"
"""The reply of a script to a server that has lost its data."""
_PAUSE, _TRIES = 0.05, 120


def reply_to(link: RedisLink, command: Command, notifications: Notifications | None = None) -> Flow[Any]:
    """The reply to a command.

    Args:
        link: To the server.
        command: The command.
        notifications: How processes agree that the server has its data, for a script that replies "lost" if it does
            not have it.

    Raises:
        RedisUnavailableError: There is none.
    """
    ask = Invoke(partial(link.call, command), partial(link.acall, command))
    reply = yield ask
    if notifications is None or reply != LOST:
        return reply
    notifications.start()
    notifications.send({})  # wakes all processes, so that they give back what they know
    for _ in range(_TRIES):
        yield Sleep(_PAUSE)
        reply = yield ask
        if reply != LOST:
            return reply
    raise RedisUnavailableError(f"Redis at {link.shown} has lost its data, which others are still giving back")
