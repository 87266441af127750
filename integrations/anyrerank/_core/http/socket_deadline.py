"""A deadline for whole synchronous requests, which a server cannot extend by sending a byte now and then.

httpx limits each read, not the whole response. So our own client connects through a network backend of httpcore that
limits each read and write to the rest of the deadline. The deadline is a context variable: a request runs on one
thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore

from anyrerank._core.runtime import NO_DEADLINE, Deadline

_DEADLINE: ContextVar[Deadline] = ContextVar("anyrerank_deadline", default=NO_DEADLINE)


@contextmanager
def socket_deadline(deadline: Deadline) -> Iterator[None]:
    """Reads and writes inside end by `deadline`."""
    token = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


class DeadlineBackend(httpcore.SyncBackend):
    """Connections whose reads and writes end by the `socket_deadline`."""

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **kwargs: Any
    ) -> httpcore.NetworkStream:
        """Open a connection."""
        limit = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, limit, *args, **kwargs))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        limit = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, limit))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        self._stream.close()


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """The rest of the deadline, at most `timeout`; raises at 0, since a socket with timeout 0 is non-blocking."""
    left = _DEADLINE.get().remaining()
    if left is None:
        return timeout
    if left == 0:
        raise late
    return left if timeout is None else min(left, timeout)
