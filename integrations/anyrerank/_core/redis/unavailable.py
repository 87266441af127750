"""The error for a Redis server that does not answer."""

from __future__ import annotations


class RedisUnavailableError(Exception):
    """The server cannot be reached, does not answer in time, or refuses commands.

    Args:
        message: Why; it holds no password.
        may_have_run: Whether the command was sent, so that the server may have run it or may do so later.
        timed_out: Whether it was sent and had no reply in time: a server that is only slow runs it, while one that
            closed the connection most likely did not.
        is_reply: Whether the server replied to this command with an error, for example because it is not allowed.
    """

    def __init__(
        self, message: str, *, may_have_run: bool = False, timed_out: bool = False, is_reply: bool = False
    ) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run
        self.timed_out = timed_out
        self.is_reply = is_reply
