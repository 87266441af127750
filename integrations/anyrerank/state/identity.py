"""What tells a shared state from others."""

from __future__ import annotations

from secrets import token_hex

from anyrerank._core.redis import RedisLink


class Identity:
    """The name of a state: the first process draws it, and the server keeps it.

    Every method raises a `RedisUnavailableError` if the server does not answer.

    Args:
        link: To the server.
        key: Where the name is.
    """

    def __init__(self, link: RedisLink, key: str) -> None:
        self._link = link
        self._key = key
        self._name: str | None = None

    def read(self) -> str:
        """The name: 8 hexadecimal digits. It may block for a few seconds."""
        while (found := self._link.call_slowly(("GET", self._key))) is None:
            self._link.call_slowly(("SET", self._key, token_hex(4), "NX"))
        self._name = bytes(found).decode()
        return self._name

    def keep(self) -> None:
        """Write the name that was read again, in case the server has lost it."""
        if self._name is not None:
            self._link.call(("SET", self._key, self._name))
