"""`HttpRequest` in, `HttpResponse` out: the only place where bytes leave the process.

Synchronous calls ride on httpx. Asynchronous ones ride on aiohttp: httpx's own asynchronous pool collapses at some 64
requests in flight, and the httpx client layer over any transport costs more than all of the rest of a call. A caller's
own `httpx.Client` or `httpx.AsyncClient` is used as it is.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from anyrerank import __version__
from anyrerank._core.http.deadline import deadline, kept_to_deadlines
from anyrerank._core.http.forbidden import check_allowed
from anyrerank._core.http.loops import closed_with_loop
from anyrerank._core.runtime import HttpRequest, HttpResponse, timeout
from anyrerank.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    ConfigurationError,
    RerankError,
)

if TYPE_CHECKING:
    import aiohttp
    import yarl

MAX_ANSWER_BYTES = 64 * 2**20
"""A larger answer is not read: no reranking answer comes near it."""

_HEADERS = {"accept-encoding": "gzip, deflate", "user-agent": f"anyrerank/{__version__}"}
_AT_ONCE = 2**19
_CONNECT_SECONDS = 10.0
_LONGEST_HEADER = 2**16
_NO_LIMIT = httpx.Timeout(None, connect=_CONNECT_SECONDS)
_KEPT_SECONDS = 30.0
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=_KEPT_SECONDS)


@dataclass(frozen=True, slots=True)
class _LoopClient:
    """What one event loop sends with."""

    session: aiohttp.ClientSession
    proxies: dict[str, str | None] = field(default_factory=dict)


_LoopClients = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClient]

_CLOSED_MEANWHILE = frozenset(
    {"Cannot send a request, as the client has been closed.", "Session is closed", "Event loop is closed"}
)
"""What httpx, aiohttp and asyncio say of it, as a `RuntimeError`."""

_INHERITED: list[object] = []
"""Clients that a fork left in the child: their sockets are the parent's, so they are neither used nor closed here."""


class Transport:
    """Sends requests in both colours; safe for threads, forks, and any number of event loops.

    Clients are made when they are first needed: one per process for synchronous calls, one per running event loop for
    asynchronous ones, closed with their loop. Pickling and copying leave them behind.

    Args:
        client: The caller's own client, used for the colour that it has; it is never closed here.

    Raises:
        ConfigurationError: `client` is neither an `httpx.Client` nor an `httpx.AsyncClient`.
    """

    def __init__(self, client: httpx.Client | httpx.AsyncClient | None = None) -> None:
        if client is not None and not isinstance(client, httpx.Client | httpx.AsyncClient):
            raise ConfigurationError("http_client is an httpx.Client or an httpx.AsyncClient")
        self._own = client
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._clients: list[httpx.Client] = []
        self._loops: _LoopClients = weakref.WeakKeyDictionary()
        weakref.finalize(self, _discard_all, self._clients, self._loops)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._own is not None:
            raise TypeError("an http_client cannot be pickled: make what uses it anew where it is needed")
        return (Transport, ())

    def __deepcopy__(self, memo: dict[int, Any]) -> Transport:
        return Transport(self._own)

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send `request` and read the whole answer.

        Raises:
            APITimeoutError: The deadline has passed.
            APIConnectionError: The server cannot be reached, or the connection broke.
            APIResponseValidationError: The answer is larger than `MAX_ANSWER_BYTES`, or wrongly compressed.
        """
        try:
            check_allowed(request.url, self._own, httpx.Client)
            client, outgoing = self._prepared(request)
            with deadline(request.deadline):
                response = client.send(outgoing, stream=True, follow_redirects=False)
                try:
                    content = bytearray()
                    for chunk in response.iter_bytes():
                        _extend(content, chunk, request)
                        _remaining(request)
                finally:
                    response.close()
        except Exception as error:  # noqa: BLE001  what is not the libraries' comes back as it was
            raise self._failure(error, request) from None
        return _answer(response.status_code, response.headers, content, request)

    async def asend(self, request: HttpRequest) -> HttpResponse:
        """`send`, on the running event loop; cancelling it aborts the request."""
        try:
            async with timeout(_remaining(request)):
                check_allowed(request.url, self._own, httpx.AsyncClient)
                if isinstance(self._own, httpx.AsyncClient):
                    return await _asend_httpx(self._own, request)
                return await self._asend_aiohttp(request)
        except Exception as error:  # noqa: BLE001  what is not the libraries' comes back as it was
            raise self._failure(error, request) from None

    def _failure(self, error: Exception, request: HttpRequest) -> Exception:
        """What a request failed with, as one of our errors where a library raised it."""
        if isinstance(error, RuntimeError) and self._own is not None and self._own.is_closed:
            return ConfigurationError("http_client is closed: pass one that stays open while calls are made")
        if isinstance(error, RuntimeError) and str(error) in _CLOSED_MEANWHILE:
            return APIConnectionError("the connection failed: it was closed meanwhile", url=request.url)
        return _translated(error, request)

    async def _asend_aiohttp(self, request: HttpRequest) -> HttpResponse:
        client = await self._loop_client()
        async with client.session.request(
            request.method,
            _encoded(request.url),
            data=_body(request.content),
            headers=request.headers,
            allow_redirects=False,
            proxy=_proxy(request.url, client.proxies),
            ssl=_ssl_context() if request.url.startswith("https") else True,
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                _extend(content, chunk, request)
            return _answer(response.status, response.headers, content, request)

    def _prepared(self, request: HttpRequest) -> tuple[httpx.Client, httpx.Request]:
        """The client to send with, and the request as it takes it."""
        if isinstance(self._own, httpx.Client):
            return self._own, _httpx_request(self._own, request)
        return self._sync_client(), _plain_request(request)

    def _sync_client(self) -> httpx.Client:
        with self._current():
            if not self._clients:
                self._clients.append(_new_client())
            return self._clients[0]

    async def _loop_client(self) -> _LoopClient:
        loop = asyncio.get_running_loop()
        if (client := self._open(loop)) is not None:
            return client
        if "aiohttp" not in sys.modules:
            await asyncio.to_thread(import_module, "aiohttp")
        with self._current():
            if (client := self._open(loop)) is not None:  # made by a call that began beside this one
                return client
            for closed in [other for other in self._loops if other.is_closed()]:
                _discard(self._loops.pop(closed))
            client = self._loops[loop] = _LoopClient(_new_session())
        await closed_with_loop(client.session)
        return client

    def _open(self, loop: asyncio.AbstractEventLoop) -> _LoopClient | None:
        client = self._loops.get(loop)
        return client if client is not None and not client.session.closed and self._pid == os.getpid() else None

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Hold the lock, after leaving behind what a parent process opened."""
        if self._pid != os.getpid():
            _INHERITED.append((list(self._clients), dict(self._loops)))
            self._clients.clear()
            self._loops.clear()
            self._start()
        with self._lock:
            yield

    def close(self) -> None:
        """Close the client of synchronous calls; the next call opens a new one."""
        with self._current():
            client = self._clients.pop() if self._clients else None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the running loop's client, and that of synchronous calls; the next call opens new ones."""
        self.close()
        client = self._loops.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.session.close()


def _new_client() -> httpx.Client:
    try:
        client = httpx.Client(limits=_LIMITS, timeout=_NO_LIMIT, verify=_ssl_context())
    except ImportError:
        raise ConfigurationError("the environment names a SOCKS proxy: pip install 'httpx[socks]'") from None
    except (httpx.InvalidURL, ValueError):
        raise ConfigurationError(_MALFORMED_PROXY) from None
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return kept_to_deadlines(client)


def _new_session() -> aiohttp.ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        max_field_size=_LONGEST_HEADER,
    )


def _discard_all(clients: list[httpx.Client], loops: _LoopClients) -> None:
    """Close what a transport that nobody has any more left open, sessions each on the thread of its loop."""
    while clients:
        clients.pop().close()
    for loop, client in list(loops.items()):
        if not loop.is_running() or loop is _running_loop():
            _discard(client)
        else:
            loop.call_soon_threadsafe(_discard, client)


def _discard(client: _LoopClient) -> None:
    """Close a session without waiting for it, which aiohttp would complain of otherwise."""
    connector = client.session.connector
    client.session.detach()
    if connector is not None:
        closing = connector.close().__await__()
        next(closing, None)
        closing.close()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _asend_httpx(client: httpx.AsyncClient, request: HttpRequest) -> HttpResponse:
    response = await client.send(_httpx_request(client, request), stream=True, follow_redirects=False)
    try:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            _extend(content, chunk, request)
    finally:
        await response.aclose()
    return _answer(response.status_code, response.headers, content, request)


def _httpx_request(client: httpx.Client | httpx.AsyncClient, request: HttpRequest) -> httpx.Request:
    return client.build_request(
        request.method,
        request.url,
        content=request.content,
        headers=dict(request.headers),
        timeout=_of_both(client.timeout, _remaining(request)),
    )


def _of_both(own: httpx.Timeout, remaining: float | None) -> httpx.Timeout:
    """What a caller's client allows and what is left of the call, whichever is less; httpx's defaults are nobody's."""
    if own == _HTTPX_DEFAULT:
        own = httpx.Timeout(None, connect=_CONNECT_SECONDS)
    return httpx.Timeout(**{name: _least(limit, remaining) for name, limit in own.as_dict().items()})


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


_HTTPX_DEFAULT = httpx.Timeout(5.0)


def _plain_request(request: HttpRequest) -> httpx.Request:
    """A request for our own client, without the merging of defaults that costs as much as the network on loopback."""
    left = _remaining(request)
    limits = {"connect": _CONNECT_SECONDS if left is None else min(left, _CONNECT_SECONDS)}
    limits |= {} if left is None else dict.fromkeys(("read", "write", "pool"), left)
    return httpx.Request(
        request.method,
        _parsed(request.url),
        headers={**_HEADERS, **request.headers},
        content=request.content,
        extensions={"timeout": limits},
    )


@lru_cache(maxsize=256)
def _encoded(url: str) -> yarl.URL:
    """`url` as httpx would write it, so that both colours ask for the same path."""
    from yarl import URL

    return URL(str(_parsed(url)), encoded=True)


@lru_cache(maxsize=256)
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


def _remaining(request: HttpRequest) -> float | None:
    """Seconds until the deadline; raises when there are none left."""
    if request.deadline is None:
        return None
    seconds = request.deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _extend(content: bytearray, chunk: bytes, request: HttpRequest) -> None:
    if len(content) + len(chunk) > MAX_ANSWER_BYTES:
        raise APIResponseValidationError(
            f"the answer is larger than {MAX_ANSWER_BYTES // 2**20} MiB and was not read to its end; check that the "
            "base URL is a reranking endpoint",
            url=request.url,
        )
    content += chunk


def _answer(status: int, headers: Mapping[str, str], content: bytearray, request: HttpRequest) -> HttpResponse:
    lowered = {name.lower(): value for name, value in headers.items()}
    return HttpResponse(status=status, headers=lowered, content=bytes(content), url=request.url, received=time.time())


@lru_cache(maxsize=1)
def _ssl_context() -> ssl.SSLContext:
    """One for both colours, so that both trust the same certificates."""
    return httpx.create_ssl_context()


def _body(content: bytes) -> bytes | BytesIO | None:
    """Aiohttp warns of large bytes, which it writes at once, and sends a file piece by piece."""
    return (content if len(content) <= _AT_ONCE else BytesIO(content)) or None


def _proxy(url: str, known: dict[str, str | None]) -> str | None:
    """The proxy that the environment names for `url`, as httpx would use it."""
    origin = url[: url.find("/", len("https://"))]
    if origin not in known:
        parts, proxies = urlsplit(url), getproxies()
        direct = not proxies or proxy_bypass(parts.hostname or "")
        known[origin] = None if direct else _usable(proxies.get(parts.scheme) or proxies.get("all"))
    return known[origin]


_MALFORMED_PROXY = (
    "a proxy in the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is no address such as http://proxy:3128"
)


def _usable(proxy: str | None) -> str | None:
    """A proxy of the environment as aiohttp takes it."""
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if proxy.startswith("socks"):
        raise ConfigurationError(
            "the environment names a SOCKS proxy, which asynchronous calls cannot use by themselves: pass "
            "http_client=httpx.AsyncClient() (pip install 'httpx[socks]')"
        )
    try:
        _ = urlsplit(proxy).port
    except ValueError:
        raise ConfigurationError(_MALFORMED_PROXY) from None
    return proxy


def _translated(error: Exception, request: HttpRequest) -> Exception:
    """What the HTTP libraries raise, as our errors; their texts may hold header values, so few are repeated."""
    if isinstance(error, RerankError):
        return error
    if isinstance(error, httpx.TimeoutException | TimeoutError | asyncio.TimeoutError):
        return APITimeoutError(f"timed out: {_what_was_late(request)}", url=request.url)
    if isinstance(error, httpx.DecodingError) or type(error.__cause__).__name__ == "ContentEncodingError":
        return APIResponseValidationError("the answer's compression is broken", url=request.url)
    ours = isinstance(error, httpx.HTTPError | httpx.InvalidURL | OSError | ValueError)
    if not ours and not type(error).__module__.startswith("aiohttp."):
        return error
    return APIConnectionError(f"the connection failed: {_reason(error)}", url=request.url)


def _what_was_late(request: HttpRequest) -> str:
    if request.deadline is None or time.monotonic() < request.deadline - _ABOUT:
        return f"no connection within {_CONNECT_SECONDS:.0f} s, or a limit of http_client was reached"
    return "no complete answer within the call's timeout"


_ABOUT = 0.05


def _reason(error: Exception) -> str:
    """What the system or a library says; nothing that may hold a URL or a header."""
    if isinstance(error, OSError):
        said = error.strerror if error.errno is not None else None
    else:
        said = str(error) if isinstance(error, httpx.ConnectError) else None
    return said or type(error).__name__
