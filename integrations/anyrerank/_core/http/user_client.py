"""Sending with a user's `httpx` client, which is never changed or closed."""

from __future__ import annotations

import httpx

from anyrerank._core.http.responses import extend, response_of
from anyrerank._core.http.settings import CONNECT_SECONDS
from anyrerank._core.http.sync_client import read_sync
from anyrerank._core.runtime import Deadline, HttpRequest, HttpResponse

_HTTPX_DEFAULT = httpx.Timeout(5.0)


def send_with(client: httpx.Client, request: HttpRequest, deadline: Deadline) -> HttpResponse:
    """Send `request` and read the whole response."""
    return read_sync(client, _prepared(client, request, deadline), request, deadline)


async def asend_with(client: httpx.AsyncClient, request: HttpRequest, deadline: Deadline) -> HttpResponse:
    """`send_with`, on the running event loop."""
    response = await client.send(_prepared(client, request, deadline), stream=True, follow_redirects=False)
    try:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            extend(content, chunk, request)
    finally:
        await response.aclose()
    return response_of(response.status_code, response.headers, content, request)


def _prepared(client: httpx.Client | httpx.AsyncClient, request: HttpRequest, deadline: Deadline) -> httpx.Request:
    return client.build_request(
        request.method,
        request.url,
        content=request.content,
        headers=dict(request.headers),
        timeout=_limits(client.timeout, deadline.remaining()),
    )


def _limits(own: httpx.Timeout, left: float | None) -> httpx.Timeout:
    """The client's limits, at most the rest of the call; httpx's default of 5 s is not the user's choice."""
    if own == _HTTPX_DEFAULT:
        own = httpx.Timeout(None, connect=CONNECT_SECONDS)
    return httpx.Timeout(**{name: _lowest(limit, left) for name, limit in own.as_dict().items()})


def _lowest(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)
