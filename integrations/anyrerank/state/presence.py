"""The processes that use a state now."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from anyrerank._core.redis import RedisLink, Script

_ANNOUNCE = Script("anyrerank.state.scripts", "announce")


class Presence:
    """One of the processes: each says for some time that it is there, with a text about itself.

    Every method raises a `RedisUnavailableError` if the server does not answer.

    Args:
        link: To the server.
        key: Of all processes.
    """

    def __init__(self, link: RedisLink, key: str) -> None:
        self._link = link
        self._key = key
        self._id = uuid4().hex

    def announce(self, text: str, seconds: int) -> list[str]:
        """Be there for some seconds; returns the texts of the others."""
        return self._call(text, seconds)

    def others(self) -> list[str]:
        """The texts of the others."""
        return self._call("", 0)

    def leave(self) -> None:
        """Be there no longer."""
        self._link.call(("HDEL", self._key, self._id))

    def _call(self, *args: Any) -> list[str]:
        return [bytes(each).decode() for each in self._link.call(_ANNOUNCE.command([self._key], [self._id, *args]))]
