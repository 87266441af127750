"""Translation of the HTTP libraries' exceptions. Their messages may contain URLs or headers, so few are repeated."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress

import httpcore
import httpx

from anyrerank._core.http.settings import CONNECT_SECONDS
from anyrerank._core.runtime import Deadline, HttpRequest, timed_out
from anyrerank.errors import APIConnectionError, APIResponseValidationError, APITimeoutError, RerankError

_CLOSED = frozenset(
    {"Cannot send a request, as the client has been closed.", "Session is closed", "Event loop is closed"}
)
"""The messages of `RuntimeError`s of httpx, aiohttp and asyncio."""

_TIMEOUTS = (httpx.TimeoutException, httpcore.TimeoutException, TimeoutError, asyncio.TimeoutError)
_CONNECTIONS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    OSError,
    ValueError,
)
_DISCONNECTED = (httpx.RemoteProtocolError, httpcore.RemoteProtocolError)
_TOLERANCE = 0.05
"""Seconds by which a timeout may come before the deadline from which it was computed."""


def translated(error: Exception, request: HttpRequest, deadline: Deadline) -> Exception:
    """Our error for one of an HTTP library; any other error unchanged."""
    if isinstance(error, RerankError):
        return error
    if isinstance(error, RuntimeError) and str(error) in _CLOSED:
        return APIConnectionError("the connection failed: it was closed during the request", url=request.url)
    if isinstance(error, _TIMEOUTS):
        return _timeout_error(error, request, deadline)
    if isinstance(error, httpx.DecodingError) or type(error.__cause__).__name__ == "ContentEncodingError":
        return APIResponseValidationError("the response cannot be decompressed", url=request.url)
    if isinstance(error, _CONNECTIONS) or type(error).__module__.startswith("aiohttp."):
        reason = _reason(error)
        return APIConnectionError(f"the connection failed: {reason}{_advice(reason)}", url=request.url)
    return error


def _timeout_error(error: Exception, request: HttpRequest, deadline: Deadline) -> APITimeoutError:
    if deadline.allows(_TOLERANCE):
        return APITimeoutError(f"timed out: {_exceeded_limit(error)}", url=request.url)
    return timed_out(deadline, "no complete response was received", request.url)


_LIMITS: Mapping[type[Exception], tuple[str, str]] = {
    httpx.ReadTimeout: ("read", "no data was received for {:g} s, the read timeout of http_client"),
    httpx.WriteTimeout: ("write", "no data could be sent for {:g} s, the write timeout of http_client"),
    httpx.PoolTimeout: ("pool", "http_client had no free connection for {:g} s, its pool timeout"),
}
"""For each timeout of a user's client: its name in httpx, and our message."""


def _exceeded_limit(error: Exception) -> str:
    """The message for a limit that ended a request before its deadline."""
    name, text = _LIMITS.get(type(error), ("connect", "no connection within {:g} s"))
    seconds = None
    if isinstance(error, httpx.TimeoutException):
        with suppress(RuntimeError):  # httpx raises it for an error without a request
            seconds = error.request.extensions.get("timeout", {}).get(name)
    return text.format(CONNECT_SECONDS if seconds is None else seconds)


_ADVICE = (
    (re.compile("refused|Connect call failed"), "check that a server runs at this address"),
    (re.compile("certificate", re.IGNORECASE), "pass ssl_verify= with the file of its certificate authority"),
    (re.compile("WRONG_VERSION_NUMBER"), "the server may speak http, not https"),
    (re.compile("[Nn]ame|getaddrinfo|address associated"), "check the host in api_base"),
)
"""What to do, by a word in the reason."""


def _advice(reason: str) -> str:
    return next((f"; {advice}" for word, advice in _ADVICE if word.search(reason)), "")


def _reason(error: Exception) -> str:
    """The reason that the system or a library reports, unless it may contain a URL or a header."""
    if isinstance(error, _DISCONNECTED) or type(error).__name__ == "ServerDisconnectedError":
        return "the server closed the connection before it had answered"
    if isinstance(error, OSError):
        reason = error.strerror if error.errno is not None else None
    else:
        reason = str(error) if isinstance(error, httpx.ConnectError | httpcore.ConnectError) else None
    return reason or type(error).__name__
