"""Commands to Redis as effects of a flow."""

from __future__ import annotations

from functools import partial
from typing import Any

from anyrerank._core.redis import Command, RedisLink
from anyrerank._core.runtime import Flow, Invoke


def asked(link: RedisLink, command: Command) -> Flow[Any]:
    """The reply to a command.

    Raises:
        RedisUnavailableError: There is none.
    """
    return (yield Invoke(partial(link.call, command), partial(link.acall, command)))
