"""Our own asynchronous client, on aiohttp: httpx's asynchronous pool is slow with 64 or more requests in flight."""

from __future__ import annotations

import ssl
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from anyrerank._core.http.proxies import Proxies
from anyrerank._core.http.responses import extend, response_of
from anyrerank._core.http.settings import CONNECT_SECONDS, HEADERS, KEEPALIVE_SECONDS, parsed
from anyrerank._core.http.tls import Tls
from anyrerank._core.runtime import HttpRequest, HttpResponse
from anyrerank.errors import ConfigurationError

if TYPE_CHECKING:
    import yarl

_MAX_HEADER_BYTES = 2**16
_WRITTEN_AT_ONCE = 2**19


class AsyncClient:
    """Sends requests on one event loop, directly or through the proxies in the environment."""

    def __init__(self, proxies: Proxies) -> None:
        import aiohttp

        self._proxies = proxies
        self._contexts: dict[Tls, ssl.SSLContext] = {}
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=HEADERS,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            max_field_size=_MAX_HEADER_BYTES,
        )

    async def send(self, request: HttpRequest, tls: Tls) -> HttpResponse:
        """Send `request` and read the whole response."""
        async with self.session.request(
            request.method,
            _encoded(request.url),
            data=_body(request.content),
            headers=request.headers,
            allow_redirects=False,
            proxy=self._proxy(request.url),
            ssl=self._context(tls) if request.url.startswith("https") else True,
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                extend(content, chunk, request)
            return response_of(response.status, response.headers, content, request)

    def _context(self, tls: Tls) -> ssl.SSLContext:
        """The context of `tls`, as it was when it was first used."""
        if tls not in self._contexts:
            self._contexts[tls] = tls.context()
        return self._contexts[tls]

    def _proxy(self, url: str) -> str | None:
        proxy = self._proxies.of(url)
        if proxy is not None and proxy.url.startswith("socks"):
            raise ConfigurationError(
                "the environment names a SOCKS proxy, which asynchronous calls cannot use by themselves: pass "
                "http_client=httpx.AsyncClient() (pip install 'httpx[socks]')"
            )
        return None if proxy is None else proxy.url

    def discard(self) -> None:
        """Close the session without waiting, so that aiohttp does not warn about it."""
        connector = self.session.connector
        self.session.detach()
        if connector is not None:
            closing = connector.close().__await__()
            next(closing, None)
            closing.close()


def _body(content: bytes) -> bytes | BytesIO | None:
    """`content` as a file if it is large: aiohttp sends a file in chunks, and warns about large bytes."""
    return (content if len(content) <= _WRITTEN_AT_ONCE else BytesIO(content)) or None


@lru_cache(maxsize=256)
def _encoded(url: str) -> yarl.URL:
    """`url`, encoded as by httpx, so that synchronous and asynchronous calls request the same path."""
    from yarl import URL

    return URL(str(parsed(url)), encoded=True)
