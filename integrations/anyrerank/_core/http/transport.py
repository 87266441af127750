"""`Transport`: sends every HTTP request of the package."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import httpx

from anyrerank._core.http.async_client import AsyncClient
from anyrerank._core.http.failures import PROXY_LOGIN, refused_by, translated
from anyrerank._core.http.forbidden import check_allowed
from anyrerank._core.http.proxies import Proxies
from anyrerank._core.http.sync_client import SyncClient
from anyrerank._core.http.tls import DEFAULT_TLS, Tls
from anyrerank._core.http.user_client import asend_with, send_with
from anyrerank._core.runtime import (
    Deadline,
    HttpRequest,
    HttpResponse,
    Sender,
    closed_with_loop,
    reset_in_child,
    timeout,
    traced,
)
from anyrerank.errors import ConfigurationError, RerankError

_Loops = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient]

_inherited: list[object] = []
"""Clients that a child process inherited: their sockets are the parent's, so it neither uses nor closes them."""


class Transport:
    """Sends requests, synchronously and asynchronously; safe for threads, forks and any number of event loops.

    Clients are created on first use: one per process for synchronous calls, one per running event loop for
    asynchronous ones, closed with their loop. Copies and pickles start without any.

    Args:
        client: The user's own client, for calls of its kind. It is never closed here.

    Raises:
        ConfigurationError: `client` is neither an `httpx.Client` nor an `httpx.AsyncClient`.
    """

    def __init__(self, client: httpx.Client | httpx.AsyncClient | None = None) -> None:
        if client is not None and not isinstance(client, httpx.Client | httpx.AsyncClient):
            raise ConfigurationError(
                f"http_client must be an httpx.Client or an httpx.AsyncClient, got {type(client).__name__}"
            )
        self._user_client = client
        self._start()
        reset_in_child(self, Transport._reset)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._proxies = Proxies()
        self._sync = SyncClient(self._proxies)
        self._loops: _Loops = weakref.WeakKeyDictionary()
        weakref.finalize(self, _discard, self._sync, self._loops)

    def _reset(self) -> None:
        _inherited.append((self._sync, dict(self._loops)))
        self._start()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._user_client is not None:
            raise TypeError("an http_client cannot be pickled: make what uses it where it is needed")
        return (Transport, ())

    def __deepcopy__(self, memo: dict[int, Any]) -> Transport:
        return Transport(self._user_client)

    def with_tls(self, tls: Tls) -> Sender:
        """A sender with other certificates, which is closed with this one; a user's client ignores `tls`."""
        return self if tls == DEFAULT_TLS else _TlsSender(self, tls)

    def send(self, request: HttpRequest, deadline: Deadline, tls: Tls = DEFAULT_TLS) -> HttpResponse:
        """Send `request` and read the whole response.

        Raises:
            APITimeoutError: The deadline has passed.
            APIConnectionError: The server cannot be reached, or the connection broke.
            APIResponseValidationError: The response is too large, or cannot be decompressed.
        """
        request = traced(request)
        try:
            check_allowed(request.url, self._user_client, httpx.Client)
            if isinstance(self._user_client, httpx.Client):
                return send_with(self._user_client, request, deadline)
            return self._answered(self._sync.send(request, deadline, tls), request)
        except Exception as error:  # noqa: BLE001  errors that are not of an HTTP library are raised unchanged
            raise self._failure(error, request, deadline) from None

    async def asend(self, request: HttpRequest, deadline: Deadline, tls: Tls = DEFAULT_TLS) -> HttpResponse:
        """`send`, on the running event loop; cancelling it aborts the request."""
        request = traced(request)
        try:
            async with timeout(deadline.remaining()):
                check_allowed(request.url, self._user_client, httpx.AsyncClient)
                if isinstance(self._user_client, httpx.AsyncClient):
                    return await asend_with(self._user_client, request, deadline)
                client = self._open_client() or await self._new_client()
                return self._answered(await client.send(request, tls), request)
        except Exception as error:  # noqa: BLE001  errors that are not of an HTTP library are raised unchanged
            raise self._failure(error, request, deadline) from None

    def _failure(self, error: Exception, request: HttpRequest, deadline: Deadline) -> Exception:
        if isinstance(error, RuntimeError) and self._user_client is not None and self._user_client.is_closed:
            return ConfigurationError("http_client is closed: pass one that stays open while calls are made")
        proxy = None if isinstance(error, RerankError) or self._user_client else self._proxies.of(request.url)
        return translated(error, request, deadline, proxy)

    def _answered(self, response: HttpResponse, request: HttpRequest) -> HttpResponse:
        """`response`, unless it is that of a proxy that asks for a login."""
        if response.status == PROXY_LOGIN and (proxy := self._proxies.of(request.url)) is not None:
            raise refused_by(proxy, PROXY_LOGIN, request)
        return response

    def _open_client(self) -> AsyncClient | None:
        client = self._loops.get(asyncio.get_running_loop())
        return client if client is not None and not client.session.closed else None

    async def _new_client(self) -> AsyncClient:
        if "aiohttp" not in sys.modules:
            await asyncio.to_thread(import_module, "aiohttp")
        with self._lock:
            if (client := self._open_client()) is not None:  # created by a concurrent call
                return client
            for closed in [loop for loop in self._loops if loop.is_closed()]:
                self._loops.pop(closed).discard()
            client = self._loops[asyncio.get_running_loop()] = AsyncClient(self._proxies)
        await closed_with_loop(client.session)
        return client

    def close(self) -> None:
        """Close the connections of synchronous calls; the next call opens new ones."""
        self._sync.close()

    async def aclose(self) -> None:
        """Close the running loop's connections, and those of synchronous calls; the next call opens new ones."""
        self.close()
        client = self._loops.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.session.close()


@dataclass(frozen=True, slots=True)
class _TlsSender:
    """Sends through a transport, with other certificates."""

    transport: Transport
    tls: Tls

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        return self.transport.send(request, deadline, self.tls)

    async def asend(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        return await self.transport.asend(request, deadline, self.tls)


def _discard(sync: SyncClient, loops: _Loops) -> None:
    """Close what a collected transport left open, sessions each on the thread of its loop."""
    sync.close()
    for loop, client in list(loops.items()):
        if not loop.is_running() or loop is _running_loop():
            client.discard()
        else:
            loop.call_soon_threadsafe(client.discard)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
