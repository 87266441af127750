"""Our own synchronous client: httpx over connection pools of httpcore that enforce the deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore
import httpx

from anyrerank._core.http.proxies import Proxies, Proxy
from anyrerank._core.http.responses import extend, response_of
from anyrerank._core.http.settings import CONNECT_SECONDS, HEADERS, KEEPALIVE_SECONDS, parsed
from anyrerank._core.http.socket_deadline import DeadlineBackend, socket_deadline
from anyrerank._core.http.tls import Tls
from anyrerank._core.runtime import Deadline, HttpRequest, HttpResponse
from anyrerank.errors import ConfigurationError


class SyncClient:
    """Sends requests over pooled connections, directly or through the proxies in the environment."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self._clients: dict[tuple[Proxy | None, Tls], httpx.Client] = {}
        self._lock = threading.Lock()

    def send(self, request: HttpRequest, deadline: Deadline, tls: Tls) -> HttpResponse:
        """Send `request` and read the whole response."""
        client = self._client(self._proxies.of(request.url), tls)
        return read_sync(client, _prepared(request, deadline), request, deadline)

    def close(self) -> None:
        """Close all connections."""
        while self._clients:
            self._clients.popitem()[1].close()

    def _client(self, proxy: Proxy | None, tls: Tls) -> httpx.Client:
        with self._lock:
            if (proxy, tls) not in self._clients:
                self._clients[proxy, tls] = _new_client(proxy, tls)
            return self._clients[proxy, tls]


def read_sync(client: httpx.Client, prepared: httpx.Request, request: HttpRequest, deadline: Deadline) -> HttpResponse:
    """Send with `client` and read the whole response by the deadline."""
    with socket_deadline(deadline):
        response = client.send(prepared, stream=True, follow_redirects=False)
        try:
            content = bytearray()
            for chunk in response.iter_bytes():
                extend(content, chunk, request)
                if deadline.passed:
                    raise TimeoutError
        finally:
            response.close()
    return response_of(response.status_code, response.headers, content, request)


def _prepared(request: HttpRequest, deadline: Deadline) -> httpx.Request:
    """A request for our own client. `Client.build_request` would take as long as an exchange over loopback."""
    left = deadline.remaining()
    limits = {"connect": CONNECT_SECONDS if left is None else min(left, CONNECT_SECONDS)}
    limits |= {} if left is None else dict.fromkeys(("read", "write", "pool"), left)
    return httpx.Request(
        request.method,
        parsed(request.url),
        headers={**HEADERS, **request.headers},
        content=request.content,
        extensions={"timeout": limits},
    )


def _new_client(proxy: Proxy | None, tls: Tls) -> httpx.Client:
    client = httpx.Client(transport=_PoolTransport(_pool(proxy, tls)), trust_env=False)
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def _pool(proxy: Proxy | None, tls: Tls) -> httpcore.ConnectionPool:
    options: dict[str, Any] = {
        "ssl_context": tls.context(),
        "max_connections": None,
        "max_keepalive_connections": 100,
        "keepalive_expiry": KEEPALIVE_SECONDS,
        "network_backend": DeadlineBackend(),
    }
    if proxy is None:
        return httpcore.ConnectionPool(**options)
    parts = urlsplit(proxy.url)
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    if parts.scheme.startswith("socks"):
        try:
            return httpcore.SOCKSProxy(address, proxy_auth=login, **options)
        except (ImportError, RuntimeError):  # the latter comes from httpcore without socksio
            raise ConfigurationError("the environment names a SOCKS proxy: pip install 'httpx[socks]'") from None
    return httpcore.HTTPProxy(address, proxy_auth=login, **options)


class _PoolTransport(httpx.BaseTransport):
    """A transport of httpx over a pool of httpcore."""

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()
