"""Commands to Redis as effects of a flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from anyrerank._core.redis import Command, RedisLink, RedisUnavailableError, Script
from anyrerank._core.runtime import Flow, Invoke, Sleep
from anyrerank.state.notifications import Notifications

LOST = b"lost"
"""The reply of a script to a server that has lost its data."""
_PAUSE, _TRIES = 0.05, 120


def reply_to(link: RedisLink, command: Command) -> Flow[Any]:
    """The reply to a command.

    Raises:
        RedisUnavailableError: There is none.
    """
    return (yield Invoke(partial(link.call, command), partial(link.acall, command)))


def asking(
    script: Script, keys: Sequence[str], args: Sequence[str | int | float], notifications: Notifications | None
) -> Command:
    """The command of a script that replies "lost" if the server does not have its data.

    Last come the key of the agreement that it does, and the number of it that this process knows; without
    `notifications` no key and 0, and the script does not ask.
    """
    if notifications is None:
        return script.command(keys, [*args, 0])
    return script.command([*keys, notifications.whole.key], [*args, notifications.whole.number])


def reply_once_whole(link: RedisLink, command: Callable[[], Command], notifications: Notifications | None) -> Flow[Any]:
    """The reply to a script that replies "lost" if the server does not have its data, once it has them.

    Args:
        link: To the server.
        command: Makes the command, by `asking`: again for each try, as the agreement that is known changes.
        notifications: How processes agree that the server has its data; `None` if the script does not ask for that.

    Raises:
        RedisUnavailableError: There is none.
    """
    reply = yield from reply_to(link, command())
    if notifications is None or reply != LOST:
        return reply
    notifications.start()
    notifications.send({})  # wakes all processes, so that they give back what they know
    for _ in range(_TRIES):
        yield Sleep(_PAUSE)
        reply = yield from reply_to(link, command())
        if reply != LOST:
            return reply
    raise RedisUnavailableError(f"Redis at {link.shown} has lost its data, which others are still giving back")
