"""The error for a Redis server that does not answer."""

from __future__ import annotations


class RedisUnavailableError(Exception):
    """The server cannot be reached, does not answer in time, or refuses commands.

    Args:
        message: Why; it holds no password.
        may_have_run: Whether the command was sent, so that the server may have run it or may do so later.
    """

    def __init__(self, message: str, *, may_have_run: bool = False) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run
