"""Creating Redis clients, and translating their errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from anyrerank._core.redis.script import Command, in_full
from anyrerank._core.runtime import import_optional
from anyrerank.errors import ConfigurationError

_PASSING = ("MISCONF", "MASTERDOWN", "NOREPLICAS", "BUSY")
CONNECT_SECONDS = 1.0
"""Seconds to wait for a connection; with TLS to another region it takes longer than a command."""


def checked_url(url: object) -> str:
    """`url`, if it is a URL of a Redis server.

    Raises:
        ConfigurationError: It is not. The message does not repeat it, because it may hold a password.
        MissingExtraError: The client library is not installed.
    """
    client = import_optional("redis", "redis")
    try:
        client.ConnectionPool.from_url(url).disconnect()
        _check_number(str(url))
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(
            "a Redis URL must be redis://user:password@host:port/number, rediss:// for TLS or unix:///path, with "
            "special characters in the password percent-encoded"
        ) from None
    return str(url)


def _check_number(url: str) -> None:
    """Raise a `ValueError` for a database that is not a number: the client would use database 0."""
    parts = urlsplit(url)
    if parts.scheme != "unix" and (path := parts.path.strip("/")):
        int(path)


def shown(url: str) -> str:
    """`url` without user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def sync_client(url: str, timeout: float, connect_timeout: float = CONNECT_SECONDS) -> Any:
    """A thread-safe client whose commands take at most `timeout` seconds, and a connection `connect_timeout`."""
    return import_optional("redis", "redis").Redis.from_url(url, **_options(timeout, connect_timeout))


def async_client(url: str) -> Any:
    """A client for one event loop. Its caller limits the time of commands."""
    return import_optional("redis.asyncio", "redis").Redis.from_url(url, **_options(None, CONNECT_SECONDS))


def _options(timeout: float | None, connect_timeout: float) -> dict[str, Any]:
    retry = import_optional("redis.retry", "redis").Retry(import_optional("redis.backoff", "redis").NoBackoff(), 0)
    return {
        "protocol": 2,
        "socket_timeout": timeout,
        "socket_connect_timeout": connect_timeout,
        "socket_keepalive": True,
        "retry": retry,  # an operation that may have run must not run again unnoticed
        "client_name": "anyrerank",
    }


def failures() -> tuple[type[Exception], ...]:
    """The exceptions of a client when the server cannot be used."""
    return (import_optional("redis", "redis").RedisError, OSError, asyncio.TimeoutError)


def unknown_scripts(replies: Sequence[Any]) -> list[int]:
    """Indexes of the commands whose script is not loaded on the server."""
    kind = import_optional("redis.exceptions", "redis").NoScriptError
    return [index for index, reply in enumerate(replies) if isinstance(reply, kind)]


def refusal(replies: Sequence[Any]) -> Exception | None:
    """The first reply with which a server refuses a command for some time: after a failover it is read-only, and while
    it starts, its memory is full or its disk fails, it takes nothing.
    """
    return next((reply for reply in replies if is_refused(reply)), None)


def is_refused(reply: object) -> bool:
    """Whether a server may take the command later; it has not run."""
    if not isinstance(reply, Exception):
        return False
    known = import_optional("redis.exceptions", "redis")
    if isinstance(reply, (known.ReadOnlyError, known.OutOfMemoryError, known.BusyLoadingError)):
        return True
    return isinstance(reply, known.ResponseError) and str(reply).startswith(_PASSING)


def execute(pipeline: Any, commands: Sequence[Command]) -> Any:
    """Send commands together; what this returns, a list or an awaitable of one, has a reply or an error for each."""
    for command in commands:
        pipeline.execute_command(*command)
    return pipeline.execute(raise_on_error=False)


def again(commands: Sequence[Command], indexes: Sequence[int]) -> list[Command]:
    """The commands at `indexes`, with their scripts in full."""
    return [in_full(commands[index]) for index in indexes]


def is_timeout(error: BaseException) -> bool:
    """Whether a server did not answer in time."""
    return type(error).__name__ == "TimeoutError"


def unavailable(url: str, error: BaseException, timeout: float) -> str:
    """Why a server cannot be used."""
    if is_timeout(error):
        return f"Redis at {shown(url)} did not answer within {timeout * 1000:.0f} ms"
    return f"Redis at {shown(url)} cannot be used: {_reason(error)}"


def _reason(error: BaseException) -> str:
    """One line of the message: a server may name a script and repeat its arguments after it."""
    text = str(error).partition("\n")[0].partition(" script: ")[0]
    return " ".join(text.split())[:200].rstrip(".") or type(error).__name__
