"""Refusing requests of web pages: one in a developer's browser must not use a gateway on the same machine."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anyrerank.gateway.errors import superset
from anyrerank.gateway.http.host import Host

Headers = list[tuple[bytes, bytes]]

_EXPOSED = b"x-request-id, retry-after, x-anyrerank-cost, x-anyrerank-cache, x-anyrerank-deployment"


class Browsers:
    """Refuses requests from pages of other hosts, unless `allowed_origins` lists them.

    A page may also reach a gateway without a key under a name of its own that it points at this machine (DNS
    rebinding), so the `Host` of such a gateway must be this machine. Where networks are trusted without a key, its own
    pages are those of this machine and those that `allowed_origins` lists.
    """

    def __init__(self, app: ASGIApp, host: Host) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        headers = dict(scope["headers"])
        host, origin = headers.get(b"host", b""), headers.get(b"origin")
        service = self._host.service
        if service.access.is_open and host and not is_loopback(str(host, "latin-1")):
            await self._refuse(send, "without a master key this gateway answers on localhost only: set master_key")
        elif origin is None or self._is_own(origin, host):
            await self._app(scope, receive, send)
        elif str(origin, "latin-1") not in service.settings.allowed_origins:
            await self._refuse(send, "web pages of other hosts may not call this gateway: list them in allowed_origins")
        elif scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await _preflight(send, origin, headers.get(b"access-control-request-headers", b""))
        else:
            await self._app(scope, receive, _allowing(send, origin))

    def _is_own(self, origin: bytes, host: bytes) -> bool:
        """Whether a page is the gateway's own, or a stranger's who points a name at it that only a key stops."""
        if not host or origin.lower().partition(b"://")[2] != host.lower():
            return False
        return not self._host.service.settings.trusted_networks or is_loopback(str(host, "latin-1"))

    async def _refuse(self, send: Send, message: str) -> None:
        self._host.metrics.served("other", 403)
        await _answer(send, 403, [(b"content-type", b"application/json")], superset(message, "permission_error", 403))


def is_loopback(host: str) -> bool:
    """Whether a `Host` header names this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


async def _preflight(send: Send, origin: bytes, wanted: bytes) -> None:
    permissions = [
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", b"600"),
    ]
    await _answer(send, 204, [*_for_origin(origin), *permissions])


def _allowing(send: Send, origin: bytes) -> Send:
    async def with_permission(message: Message) -> None:
        if message["type"] == "http.response.start":
            exposed = (b"access-control-expose-headers", _EXPOSED)
            message = {**message, "headers": [*message["headers"], *_for_origin(origin), exposed]}
        await send(message)

    return with_permission


def _for_origin(origin: bytes) -> Headers:
    return [(b"access-control-allow-origin", origin), (b"vary", b"origin")]


async def _answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
    lines = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
