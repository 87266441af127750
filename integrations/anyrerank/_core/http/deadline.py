"""A deadline for synchronous calls that no server can stretch by sending a byte now and then.

httpx has a limit for each read, not for a whole answer. So the sockets of our own client are wrapped, and every read
and write gets what is left of the call's time. The deadline is a context variable: a request runs on one thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

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


def kept_to_deadlines(client: httpx.Client) -> httpx.Client:
    """`client`, whose connections keep the deadline that is set around a request.

    httpx has no argument for the network back end of its pools. Should a later version name it otherwise, requests
    still end by httpx's own limits, and a test says so.
    """
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _Backend()
    return client


class _Backend(httpcore.SyncBackend):
    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*args, **kwargs))


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
    """What is left of `timeout` and of the deadline, whichever is less."""
    left = _DEADLINE.get().remaining()
    if left is None:
        return timeout
    if left == 0:
        raise late
    return left if timeout is None else min(left, timeout)
