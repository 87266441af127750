"""The processes that use a state now."""

from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

from anyrerank._core.redis import RedisLink, RedisUnavailableError, Script

_ANNOUNCE = Script("anyrerank.state.scripts", "announce")


class Presence:
    """One of the processes: each says for some time that it is there, with a text about itself.

    Args:
        link: To the server.
        key: Of all processes.
    """

    def __init__(self, link: RedisLink, key: str) -> None:
        self._link = link
        self._key = key
        self._id = uuid4().hex

    def announce(self, text: str, seconds: int) -> list[str]:
        """Be there for some seconds; returns the texts of the others, none while the server does not answer."""
        try:
            others = self._link.call(_ANNOUNCE.command([self._key], [self._id, text, seconds]))
        except RedisUnavailableError:
            return []
        return [bytes(each).decode() for each in others]

    def leave(self) -> None:
        """Be there no longer; it never raises."""
        with suppress(RedisUnavailableError):
            self._link.call(("HDEL", self._key, self._id))
